/** What the commands for task sources have in common: one look or a watch, and what they tell. */
import type { Redis } from 'ioredis';
import { openLandingQueue } from '../job/landing.ts';
import { openQueue } from '../job/queue.ts';
import { Producer } from '../producer/producer.ts';
import { Bridge, type BridgeOptions } from '../producer/source/bridge.ts';
import { CLOSE_ON, type CloseOn } from '../producer/source/due.ts';
import { Stir } from '../producer/source/stir.ts';
import type { Note, TaskSource, Written } from '../producer/source/task-source.ts';
import { watch } from '../producer/source/watch.ts';
import { poolId } from '../redis/source-ledger.ts';
import type { BridgeFlags } from './bridge-flags.ts';
import { type Connected, withRedis } from './connected.ts';
import { allOf, countOf, durationOf, oneOf } from './faults.ts';
import { interruptible } from './interrupts.ts';
import { say } from './outputs.ts';
import { openTarget, type Target } from './task-input.ts';
import { counted, printable } from './words.ts';

/** @throws {InvalidInput}, and what opening source, repository or Redis throws */
export async function bridge(
  flags: BridgeFlags,
  open: (target: Target, pool: string) => Promise<TaskSource>,
): Promise<number> {
  const [intervalMs, limit, closeOn] = allOf(
    () => durationOf('--interval', flags.interval),
    () => (flags.limit === undefined ? null : countOf('--limit', flags.limit)),
    () => oneOf('--close-on', flags.closeOn, CLOSE_ON),
  );
  const target = await openTarget(flags);
  return interruptible(stop =>
    withRedis(
      target.settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const source = await open(target, await poolId(redis, target.settings.prefix));
        const signals = { signal: stop.asked, insisted: stop.insisted };
        return work({ flags, target, source, connected, redis, intervalMs, limit, closeOn, ...signals });
      },
      stop.asked,
    ),
  );
}

interface Work {
  flags: BridgeFlags;
  target: Target;
  source: TaskSource;
  connected: Connected;
  redis: Redis;
  intervalMs: number;
  limit: number | null;
  closeOn: CloseOn;
  signal: AbortSignal;
  insisted: AbortSignal;
}

async function work(given: Work): Promise<number> {
  const { flags, signal, redis } = given;
  const { prefix, retention } = given.target.settings;
  const producer = new Producer({ redis, prefix, retention, tracing: await given.connected.tracing() });
  const queue = openQueue(redis, prefix);
  const landings = openLandingQueue(redis, prefix);
  const it = new Bridge({ ...bridgeOf(given), producer, queue, landings });
  try {
    if (flags.watch === true && flags.dryRun !== true) return await keepWatching(it, given);
    return flags.dryRun === true ? await tellWouldQueue(it, given) : await lookOnce(it, given);
  } catch (error) {
    // What was being asked is cut short by the second signal, and says so in words of its own.
    if (signal.aborted) return 130;
    throw error;
  } finally {
    await producer.close();
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await Promise.all([queue.close(), landings.close()]).catch(() => undefined);
  }
}

async function lookOnce(it: Bridge, { source, signal }: Work): Promise<number> {
  const { queued, open, waiting, faulty } = await it.look(signal);
  const waits = waiting === 0 ? '' : `, ${counted(waiting, 'write-back')} waiting`;
  say(`${counted(queued, 'task')} queued from ${printable(source.name)}, ${open} open${waits}.`);
  return signal.aborted ? 130 : faulty > 0 ? 1 : 0;
}

async function keepWatching(it: Bridge, { source, connected, target, intervalMs, signal }: Work): Promise<number> {
  say(`Watching ${printable(source.name)}. Ctrl-C to stop.`);
  const stir = await Stir.open(await connected.connection('worker'), target.settings.prefix);
  try {
    await watch({ bridge: it, stir, intervalMs, signal, onAway: sayAway(source) });
    return 0;
  } finally {
    await stir.close();
  }
}

function bridgeOf({
  flags,
  target,
  source,
  limit,
  closeOn,
  insisted,
  redis,
}: Work): Omit<BridgeOptions, 'producer' | 'queue' | 'landings'> {
  const { settings, plan, defaults, check } = target;
  const json = flags.json === true;
  return {
    source,
    redis,
    prefix: settings.prefix,
    context: { repository: target.repository, plan },
    defaults,
    check,
    limit,
    closeOn,
    insisted,
    onQueued: (item, taskId) => tell(json, { event: 'queued', item, taskId }, `${item} queued as ${taskId}`),
    onWritten: (note, written) => tellWritten(json, note, written),
    onStuck: ({ item, kind }, error) => say(printable(`${item}: ${kind} is not written yet: ${error.message}`)),
    onFaults: (item, faults) => {
      if (json) process.stdout.write(`${JSON.stringify({ event: 'faults', item, faults })}\n`);
      for (const { where, what } of faults) say(printable(`${where === item ? item : `${item}: ${where}`}: ${what}`));
    },
    onRemark: (item, remark) => {
      if (json) process.stdout.write(`${JSON.stringify({ event: 'remark', item, remark })}\n`);
      say(printable(`${item}: ${remark}`));
    },
  };
}

function tellWritten(json: boolean, { item, taskId, kind }: Note, written: Written): void {
  const reason = 'reason' in written ? written.reason : null;
  const line = `${item} ${SAID[kind]}${HOW[written.how]}${reason === null ? '' : `: ${reason}`}`;
  tell(json, { event: 'written', item, taskId, kind, how: written.how, reason }, line);
}

const SAID: Record<Note['kind'], string> = {
  claim: 'claimed',
  attempt: 'told of an attempt',
  done: 'closed',
  'awaiting-landing': 'told that it waits for landing',
  'not-landed': 'released: it did not land',
  unchanged: 'released: nothing was changed',
  failed: 'released: given up',
  cancelled: 'released: cancelled',
};

const HOW: Record<Written['how'], string> = {
  written: '',
  known: ' (before)',
  lost: ': not ours any more',
  refused: ': refused',
};

function tell(json: boolean, facts: Record<string, unknown>, line: string): void {
  process.stdout.write(`${json ? JSON.stringify(facts) : printable(line)}\n`);
}

async function tellWouldQueue(it: Bridge, { flags, signal }: Work): Promise<number> {
  const json = flags.json === true;
  const { tasks, faulty } = await it.wouldQueue(signal);
  for (const { task, where } of tasks) {
    tell(
      json,
      { event: 'would-queue', item: where, task },
      `${where} would be queued as ${task.id}: ${task.title ?? ''}`,
    );
  }
  say(`${counted(tasks.length, 'task')} would be queued; nothing was written.`);
  return signal.aborted ? 130 : faulty > 0 ? 1 : 0;
}

function sayAway(source: TaskSource): (error: Error | null) => void {
  return error => {
    if (error === null) say(`${printable(source.name)}: back again.`);
    else say(printable(`${error.message} What is to be written back waits until then.`));
  };
}
