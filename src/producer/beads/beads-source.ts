/** Beads as a source of tasks: what `bd ready` offers is worked, and what became of it is written into the bead. */
import { InvalidInput } from '../../errors.ts';
import { demandPool, isActorOf } from '../actor.ts';
import type { FoundTask, ItemState, Note, TaskSource, Written } from '../source/task-source.ts';
import { Bd } from './bd.ts';
import type { BdOptions } from './bd-process.ts';
import { taskOf } from './bead-task.ts';
import { writeNote } from './bead-writes.ts';
import { isBeadId, LEFT_OUT } from './names.ts';
import type { Issue } from './shapes.ts';

export interface BeadsOptions extends Omit<BdOptions, 'cwd'> {
  /** The repository whose tracker is meant; bd looks for it from there upward. */
  repository: string;
  /**
   * Who writes: an id of letters and digits that no other Redis or prefix has, and always the same for this one. Left
   * out, the source is for looks alone: a write is an error, and what is reopened is not known to be this pool's.
   */
  pool?: string | undefined;
  /** Only beads that carry it. */
  label?: string | undefined;
  /** Wishes that labels of beads may express: `model`, `budget`, `test`. */
  allowedLabels?: readonly string[];
  /** What the operator should know, such as that this version of bd is not the best one. */
  onRemark?: (remark: string) => void;
}

export class BeadsSource implements TaskSource {
  readonly name: string;
  readonly identity: string;
  readonly #bd: Bd;
  readonly #pool: string | null;
  readonly #label: string | null;
  readonly #allowed: ReadonlySet<string>;

  private constructor(bd: Bd, identity: string, options: BeadsOptions) {
    this.name = `beads in ${options.repository}`;
    this.identity = `beads:${identity}`;
    this.#bd = bd;
    this.#pool = options.pool === undefined ? null : demandPool(options.pool);
    this.#label = options.label ?? null;
    this.#allowed = new Set(options.allowedLabels ?? []);
  }

  /** @throws {CellpoolError} SOURCE_UNAVAILABLE when there is no bd, none that may be used, or no tracker */
  static async open(options: BeadsOptions): Promise<BeadsSource> {
    const { repository, env, timeoutMs } = options;
    const bd = await Bd.open({
      cwd: repository,
      ...(env === undefined ? {} : { env }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    if (bd.version.warning !== null) options.onRemark?.(bd.version.warning);
    return new BeadsSource(bd, await bd.identity(), options);
  }

  async ready(signal: AbortSignal): Promise<string[]> {
    const offered = await this.#bd.ready(this.#label, signal);
    // One whose id cannot be given to bd is offered too, so that whoever reads it is told.
    return offered.filter(issue => this.#isWanted(issue)).map(({ id }) => id);
  }

  async read(item: string, signal: AbortSignal): Promise<FoundTask | null> {
    if (!isBeadId(item)) throw new InvalidInput([{ where: JSON.stringify(item), what: 'is no id of a bead' }]);
    const issue = await this.#bd.show(item, signal);
    if (issue === null || !this.#isWanted(issue) || issue.isBlocked) return null;
    const comments = issue.commentCount === 0 ? [] : await this.#bd.comments(item, signal);
    return taskOf(issue, comments, this.#allowed);
  }

  /** A change that has begun is not cut off by `signal`; no other one begins. */
  async write(note: Note, signal: AbortSignal): Promise<Written> {
    if (this.#pool === null) throw new TypeError(`${this.name} were opened without a pool: nothing can be written`);
    return writeNote(this.#bd, this.#pool, note, signal);
  }

  async look(items: readonly string[], signal: AbortSignal): Promise<Map<string, ItemState>> {
    const found = await this.#bd.list([...new Set(items)].filter(isBeadId), signal);
    const known = new Map(found.map(issue => [issue.id, issue]));
    const states = new Map<string, ItemState>();
    for (const item of items) {
      const issue = known.get(item);
      if (issue !== undefined) states.set(item, stateOf(issue));
    }
    return states;
  }

  #isWanted(issue: Issue): boolean {
    return (
      issue.status === 'open' &&
      // A bead that is reopened keeps its assignee; whether that task has ended, the ledger knows.
      (issue.assignee === '' || isActorOf(this.#pool, issue.assignee)) &&
      issue.type !== 'epic' &&
      (this.#label === null || issue.labels.includes(this.#label)) &&
      !issue.labels.some(label => LEFT_OUT.includes(label))
    );
  }
}

function stateOf({ title, status, assignee }: Issue): ItemState {
  return { title, status, assignee: assignee === '' ? null : assignee };
}
