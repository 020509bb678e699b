/** What of a source is ready and not on the queue yet: read, checked, and with every fault told once. */
import { CellpoolError, type Fault, InvalidInput } from '../../errors.ts';
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
  /** Of the last look: items that cannot be worked as they are written. */
  readonly faulty = new Set<string>();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /**
   * Each item as soon as it is read; what becomes of one is decided before the next is looked at.
   * @throws {CellpoolError} SOURCE_UNAVAILABLE
   */
  async *wanted(signal: AbortSignal): AsyncGenerator<Wanted> {
    const { source, ledger, limit, insisted } = this.#options;
    this.faulty.clear();
    const since = await ledger.now();
    const open = (await ledger.live()).filter(({ settledAt, queued }) => settledAt === null && queued).length;
    const ready = [...new Set(await source.ready(insisted))];
    let found = 0;
    for (const item of ready.filter(one => this.#isNamed(one))) {
      if (signal.aborted || (limit !== null && open + found >= limit)) return;
      if (!isFree(await this.#entry(item), since)) continue;
      const placed = await this.#read(item);
      if (placed === null) continue;
      // Reading may have taken a while, in which another bridge has gone on.
      const entry = await this.#entry(item);
      if (!isFree(entry, since)) continue;
      found += 1;
      yield { item, entry, placed };
    }
  }

  tellFaults(item: string, faults: readonly Fault[]): void {
    this.faulty.add(item);
    if (this.#isNews(item, JSON.stringify(faults))) this.#options.onFaults(item, faults);
  }

  async #entry(item: string): Promise<LedgerEntry | null> {
    return (await this.#options.ledger.read([item])).get(item) ?? null;
  }

  #isNamed(item: string): boolean {
    const fault = taskIdFault(item);
    if (fault !== null) this.tellFaults(item, [{ where: item, what: `cannot become a task: its name ${fault}` }]);
    return fault === null;
  }

  /** Null when it is not to be worked. */
  async #read(item: string): Promise<PlacedTask | null> {
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
      if (error instanceof InvalidInput) this.tellFaults(item, error.faults);
      // The source has just said what is ready: of one item it may be this item that is at fault, of two it is not.
      else if (isUnavailable(error) && this.faulty.size === 0)
        this.tellFaults(item, [{ where: item, what: error.message }]);
      else throw error;
      return null;
    }
  }

  /** The same of the same item is said once, however often it is looked at. */
  #isNews(item: string, what: string): boolean {
    const same = this.#told.get(item) === what;
    this.#told.set(item, what);
    return !same;
  }
}

function isUnavailable(error: unknown): error is CellpoolError {
  return error instanceof CellpoolError && error.code === 'SOURCE_UNAVAILABLE';
}

/**
 * Whether an item that is ready may be put on the queue: it was begun and never queued, or all was told of it before
 * the source was asked (`since`), so that it is ready because somebody has reopened it.
 */
function isFree(entry: LedgerEntry | null, since: number): boolean {
  if (entry === null) return true;
  return entry.settledAt === null ? !entry.queued : entry.settledAt < since;
}

/** Begun by a bridge that died before the task was on the queue. */
export function isBegun({ settledAt }: LedgerEntry): boolean {
  return settledAt === null;
}

/** The task id of the next generation: that of the first is the item's own name. */
export function nextName(item: string, entry: LedgerEntry | null): string {
  if (entry === null) return item;
  return isBegun(entry) ? entry.taskId : `${item}-g${entry.generation + 1}`;
}
