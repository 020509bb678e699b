/** The calls of `bd` that are in use, typed. A change is of one issue: of several, bd can fail half and say nothing. */
import { realpath } from 'node:fs/promises';
import { type BdCall, type BdOptions, BdProcess } from './bd-process.ts';
import { isGone, isRefusal, troubleOf, unanswered, unavailable } from './bd-trouble.ts';
import type { JudgedVersion } from './bd-version.ts';
import { isBeadId } from './names.ts';
import { type BeadComment, commentsIn, contextSchema, type Issue, issuesIn, type Printed } from './shapes.ts';

/** Ids in one call: their list is one argument, which has a limit. */
const LIST_MOST = 400;

/** Null when the change was made; else why bd would not make it. */
export type Refusal = string | null;

/** Who changes something, and until when another change may begin. */
export interface By {
  actor: string;
  signal?: AbortSignal | undefined;
}

export interface Update {
  status?: string;
  /** Empty for nobody. */
  assignee?: string;
  addLabels?: readonly string[];
  removeLabels?: readonly string[];
  claim?: boolean;
  /** Only while this one has it (empty: nobody), where the version knows how. */
  onlyIfAssignee?: string;
  /** Only while it has this status, where the version knows how. */
  onlyIfStatus?: string;
}

export class Bd {
  readonly version: JudgedVersion;
  readonly cwd: string;
  readonly #process: BdProcess;

  private constructor(bd: BdProcess, version: JudgedVersion, cwd: string) {
    this.#process = bd;
    this.version = version;
    this.cwd = cwd;
  }

  /** @throws {CellpoolError} SOURCE_UNAVAILABLE when there is no `bd`, or none that may be used */
  static async open(options: BdOptions): Promise<Bd> {
    const { bd, judged } = await BdProcess.find(options);
    return new Bd(bd, judged, options.cwd);
  }

  /**
   * Which tracker it is: the id that `bd init` gave the project, which all who work on it have; from a version that
   * gave none, the folder it lies in. @throws {CellpoolError} SOURCE_UNAVAILABLE
   */
  async identity(): Promise<string> {
    const { answer, stdout } = await this.#call(['context'], {});
    if (!answer.ok) throw unanswered(this.#name('context'), answer);
    const found = contextSchema.safeParse(answer.value);
    if (!found.success) throw this.#notUnderstood('context', stdout);
    const { project_id, beads_dir } = found.data;
    return project_id ?? (await realpath(beads_dir).catch(() => beads_dir));
  }

  /**
   * What nothing blocks, most urgent first; whoever has it, for a bead that is reopened keeps its assignee.
   * @throws {CellpoolError} SOURCE_UNAVAILABLE
   */
  async ready(label: string | null, signal?: AbortSignal): Promise<Issue[]> {
    const labelled = label === null ? [] : [`--label=${label}`];
    const args = ['ready', '--limit', '0', '--exclude-type', 'epic', ...labelled];
    return this.#list(args, issuesIn, signal);
  }

  /** Those of these that there are, closed ones too, in any order. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async list(ids: readonly string[], signal?: AbortSignal): Promise<Issue[]> {
    const found: Issue[] = [];
    for (const id of ids) demandId(id);
    for (let from = 0; from < ids.length; from += LIST_MOST) {
      const some = ids.slice(from, from + LIST_MOST).join(',');
      found.push(...(await this.#list(['list', '--all', '--limit', '0', `--id=${some}`], issuesIn, signal)));
    }
    return found;
  }

  /** Null when there is no such issue. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async show(id: string, signal?: AbortSignal): Promise<Issue | null> {
    demandId(id);
    const { answer, stdout } = await this.#call(['show', id], { signal });
    if (!answer.ok) {
      if (troubleOf(this.#name('show'), answer) === null && isGone(answer.said)) return null;
      throw unanswered(this.#name('show'), answer);
    }
    const found = issuesIn(answer.value, stdout);
    if (found === null) throw this.#notUnderstood('show', stdout);
    // bd takes a part of an id for the whole: what it found may be another one.
    return found.find(issue => issue.id === id) ?? null;
  }

  /** Oldest first. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async comments(id: string, signal?: AbortSignal): Promise<BeadComment[]> {
    demandId(id);
    return this.#list(['comments', id], commentsIn, signal);
  }

  /** All of it or nothing. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async update(id: string, by: By, change: Update): Promise<Refusal> {
    const changesField = change.status !== undefined || change.assignee !== undefined;
    const isGuarded = this.version.hasGuards && change.claim !== true && changesField;
    return this.#change('update', id, by, [
      ...(change.claim === true ? ['--claim'] : []),
      ...(change.status === undefined ? [] : [`--status=${change.status}`]),
      ...(change.assignee === undefined ? [] : [`--assignee=${change.assignee}`]),
      ...(change.addLabels ?? []).map(label => `--add-label=${label}`),
      ...(change.removeLabels ?? []).map(label => `--remove-label=${label}`),
      ...(change.onlyIfAssignee === undefined || !isGuarded ? [] : [`--if-assignee=${change.onlyIfAssignee}`]),
      ...(change.onlyIfStatus === undefined || !isGuarded ? [] : [`--if-status=${change.onlyIfStatus}`]),
    ]);
  }

  /** @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async comment(id: string, by: By, text: string): Promise<Refusal> {
    return this.#change('comment', id, by, ['--stdin'], text);
  }

  /** @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async close(id: string, by: By, reason: string): Promise<Refusal> {
    return this.#change('close', id, by, ['--reason-file', '-'], reason);
  }

  async #list<T>(
    args: readonly string[],
    read: (value: unknown, text: string) => T[] | null,
    signal: AbortSignal | undefined,
  ): Promise<T[]> {
    const name = args[0] as string;
    const { answer, stdout } = await this.#call(args, { signal });
    if (!answer.ok) throw unanswered(this.#name(name), answer);
    const found = read(answer.value, stdout);
    if (found === null) throw this.#notUnderstood(name, stdout);
    return found;
  }

  async #change(name: string, id: string, by: By, args: readonly string[], input?: string): Promise<Refusal> {
    demandId(id);
    const call = { changes: true, signal: by.signal, ...(input === undefined ? {} : { input }) };
    const { answer } = await this.#call([name, id, ...args, '--actor', by.actor], call);
    if (answer.ok) return null;
    if (!isRefusal(this.#name(name), answer)) throw unanswered(this.#name(name), answer);
    return answer.said || `exit code ${answer.exitCode}`;
  }

  #call(args: readonly string[], call: BdCall) {
    return this.#process.call([...args, '--json'], call);
  }

  #notUnderstood(name: string, stdout: Printed['stdout']) {
    const said = `its answer is not understood: ${JSON.stringify(stdout.trim().slice(0, 300))}`;
    return unavailable(this.#name(name), said, 'Versions 1.0.4 to 1.3 are known; see what this one prints.');
  }

  #name(name: string): string {
    return `bd ${name} in ${this.cwd}`;
  }
}

/** Whoever calls has looked: an id that bd could take for an option must never get here. */
function demandId(id: string): void {
  if (!isBeadId(id)) throw new TypeError(`no bead id: ${JSON.stringify(id)}`);
}
