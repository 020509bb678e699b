/** What of a source is ready and not on the queue yet: read, checked, and with every fault told once. */
import { type Fault, InvalidInput } from '../../errors.ts';
import { taskIdFault } from '../../job/names.ts';
import { parseTask, type TaskInput } from '../../job/task.ts';
import type { LedgerEntry, SourceLedger } from '../../redis/source-ledger.ts';
import type { PlacedTask } from '../tasks-file.ts';
import type { TaskSource } from './task-source.ts';

export interface DiscoveryOptions {
  source: TaskSource;
  ledger: SourceLedger;
  /** What a task gets that its item does not say. */
  defaults: Partial<TaskInput>;
  /** Unfinished tasks of the source at one time; null: as many as there are. */
  limit: number | null;
  /** Cuts short what is being asked of the source. */
  insisted: AbortSignal;
  /** Looks at a task before it is queued, as the caller knows the repository. @throws {InvalidInput} naming faults */
  check(tasks: readonly PlacedTask[]): Promise<void>;
  /** An item cannot be worked as it is written. Told once. */
  onFaults(item: string, faults: readonly Fault[]): void;
  onRemark(item: string, remark: string): void;
}

/** An item that is to be put on the queue: its task, and what the ledger has of it. */
export interface Wanted {
  item: string;
  entry: LedgerEntry | null;
  placed: PlacedTask;
}

export class Discovery {
  readonly #options: DiscoveryOptions;
  /** Items whose faults or remarks were told. */
  readonly #told = new Map<string, string>();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /** `faulty`: how many items cannot be worked as they are written. @throws {CellpoolError} SOURCE_UNAVAILABLE */
  async wanted(): Promise<{ wanted: Wanted[]; faulty: number }> {
    const { source, ledger, limit, insisted } = this.#options;
    const since = await ledger.now();
    const open = (await ledger.live()).filter(({ settledAt, queued }) => settledAt === null && queued).length;
    const ready = [...new Set(await source.ready(insisted))];
    const named = ready.filter(item => this.#isNamed(item));
    const entries = await ledger.read(named);
    const wanted: Wanted[] = [];
    let faulty = ready.length - named.length;
    for (const item of named) {
      if (limit !== null && open + wanted.length >= limit) break;
      const entry = entries.get(item) ?? null;
      if (entry !== null && !isFree(entry, since)) continue;
      const placed = await this.#read(item);
      if (placed === 'faulty') faulty += 1;
      else if (placed !== null) wanted.push({ item, entry, placed });
    }
    return { wanted, faulty };
  }

  #isNamed(item: string): boolean {
    const fault = taskIdFault(item);
    if (fault !== null) this.#tellFaults(item, [{ where: item, what: `cannot become a task: its name ${fault}` }]);
    return fault === null;
  }

  async #read(item: string): Promise<PlacedTask | 'faulty' | null> {
    const { source, defaults, check, onRemark, insisted } = this.#options;
    try {
      const found = await source.read(item, insisted);
      if (found === null) return null;
      const { task, faults } = parseTask({ ...found.task, id: item }, item, defaults);
      if (task === null) throw new InvalidInput(faults);
      const placed = { task, where: item, baseGiven: found.task.base !== undefined || defaults.base !== undefined };
      await check([placed]);
      if (this.#isNews(item, found.remarks.join('\n'))) for (const remark of found.remarks) onRemark(item, remark);
      return placed;
    } catch (error) {
      if (!(error instanceof InvalidInput)) throw error;
      this.#tellFaults(item, error.faults);
      return 'faulty';
    }
  }

  #tellFaults(item: string, faults: readonly Fault[]): void {
    if (this.#isNews(item, JSON.stringify(faults))) this.#options.onFaults(item, faults);
  }

  /** The same of the same item is said once, however often it is looked at. */
  #isNews(item: string, what: string): boolean {
    const same = this.#told.get(item) === what;
    this.#told.set(item, what);
    return !same;
  }
}

/**
 * Whether an item that is ready may be put on the queue: it was begun and never queued, or all was told of it before
 * the source was asked (`since`), so that it is ready because somebody has reopened it.
 */
function isFree({ settledAt, queued }: LedgerEntry, since: number): boolean {
  return settledAt === null ? !queued : settledAt < since;
}

/** Begun by a bridge that died before the task was on the queue. */
export function isBegun(entry: LedgerEntry | null): boolean {
  return entry !== null && entry.settledAt === null;
}

/** The task id of the next generation: that of the first is the item's own name. */
export function nextName(item: string, entry: LedgerEntry | null): string {
  if (entry === null) return item;
  return isBegun(entry) ? entry.taskId : `${item}-g${entry.generation + 1}`;
}
