/** The items of a source beside their tasks: what each is like there and here. */
import { openQueue, type TaskQueue } from '../job/queue.ts';
import { readJob, type StoredJob } from '../job/stored-job.ts';
import type { ItemState, TaskSource } from '../producer/source/task-source.ts';
import { type LedgerEntry, SourceLedger } from '../redis/source-ledger.ts';
import { withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { printable, shorten, table } from './words.ts';

/** Items that are done and shown all the same. */
const RECENT = 20;
const TITLE_WIDTH = 50;

export interface ItemRow {
  item: string;
  title: string | null;
  /** In the source's own words; null when it is gone there. */
  status: string | null;
  assignee: string | null;
  taskId: string;
  /** Of the job, in BullMQ's words; null when there is none any more. */
  state: string | null;
  outcome: string | null;
  attempts: number;
  /** Notes that the source has not taken yet. */
  waiting: number;
  /** Why the task is not worked, where somebody else has the item. */
  lost: string | null;
}

/** `what`: how one item of the source is called. */
export async function bridgeStatus(
  flags: CommonFlags & { json?: boolean },
  what: string,
  open: () => Promise<TaskSource>,
): Promise<number> {
  const settings = settingsOf(flags);
  const source = await open();
  return interruptible(async stop => {
    const rows = await withRedis(
      settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const ledger = new SourceLedger(redis, { prefix: settings.prefix, identity: source.identity });
        const queue = openQueue(redis, settings.prefix);
        try {
          return await rowsOf(source, ledger, queue, stop.asked);
        } finally {
          // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
          await queue.close().catch(() => undefined);
        }
      },
      stop.asked,
    );
    if (flags.json === true) for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
    else process.stdout.write(`${inWords(rows, what, source)}\n`);
    return stop.asked.aborted ? 130 : 0;
  });
}

async function rowsOf(source: TaskSource, ledger: SourceLedger, queue: TaskQueue, signal: AbortSignal) {
  const [live, recent] = await Promise.all([ledger.live(), ledger.recent(RECENT)]);
  const entries = [...live, ...recent];
  const items = await source.look(
    entries.map(({ item }) => item),
    signal,
  );
  return Promise.all(
    entries.map(async entry => rowOf(entry, items.get(entry.item), await readJob(queue, entry.taskId))),
  );
}

function rowOf(entry: LedgerEntry, item: ItemState | undefined, job: StoredJob | null): ItemRow {
  return {
    item: entry.item,
    title: item?.title ?? null,
    status: item?.status ?? null,
    assignee: item?.assignee ?? null,
    taskId: entry.taskId,
    state: job?.state ?? null,
    outcome: job?.result?.outcome ?? null,
    attempts: job?.data?.results.length ?? 0,
    waiting: [...entry.notes.values()].filter(state => state === 'waits').length,
    lost: entry.lost,
  };
}

function inWords(rows: readonly ItemRow[], what: string, source: TaskSource): string {
  if (rows.length === 0) return `No ${what} of ${printable(source.name)} has been queued yet.`;
  const cells = rows.map(row => [
    row.item,
    row.status ?? 'gone',
    row.taskId,
    row.state ?? 'gone',
    row.lost === null ? (row.outcome ?? '-') : `not ours: ${shorten(row.lost, 40)}`,
    String(row.attempts),
    row.waiting === 0 ? '-' : String(row.waiting),
    shorten(row.title ?? '', TITLE_WIDTH),
  ]);
  const head = [what.toUpperCase(), 'STATUS', 'TASK', 'JOB', 'OUTCOME', 'ATTEMPTS', 'WAITING', 'TITLE'];
  return table(head, cells);
}
