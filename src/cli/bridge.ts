/** What the commands for task sources have in common: one look or a watch, and what they tell. */
import { openQueue } from '../job/queue.ts';
import { Producer } from '../producer/producer.ts';
import { Bridge, type BridgeOptions } from '../producer/source/bridge.ts';
import { CLOSE_ON, type CloseOn } from '../producer/source/due.ts';
import { Stir } from '../producer/source/stir.ts';
import type { Note, TaskSource, Written } from '../producer/source/task-source.ts';
import { watch } from '../producer/source/watch.ts';
import type { BridgeFlags } from './bridge-flags.ts';
import { type Connected, withRedis } from './connected.ts';
import { allOf, countOf, durationOf, oneOf } from './faults.ts';
import { interruptible } from './interrupts.ts';
import { say } from './outputs.ts';
import { openTarget, type Target } from './task-input.ts';
import { counted, printable } from './words.ts';

/** @throws {InvalidInput}, and what opening source, repository or Redis throws */
export async function bridge(flags: BridgeFlags, open: (target: Target) => Promise<TaskSource>): Promise<number> {
  const [intervalMs, limit, closeOn] = allOf(
    () => durationOf('--interval', flags.interval),
    () => (flags.limit === undefined ? null : countOf('--limit', flags.limit)),
    () => oneOf('--close-on', flags.closeOn, CLOSE_ON),
  );
  const target = await openTarget(flags);
  const source = await open(target);
  return interruptible(stop =>
    withRedis(
      target.settings,
      say,
      connected =>
        work({
          flags,
          target,
          source,
          connected,
          intervalMs,
          limit,
          closeOn,
          signal: stop.asked,
          insisted: stop.insisted,
        }),
      stop.asked,
    ),
  );
}

interface Work {
  flags: BridgeFlags;
  target: Target;
  source: TaskSource;
  connected: Connected;
  intervalMs: number;
  limit: number | null;
  closeOn: CloseOn;
  signal: AbortSignal;
  insisted: AbortSignal;
}

async function work(given: Work): Promise<number> {
  const { flags, connected, signal, source } = given;
  const { settings } = given.target;
  const redis = await connected.connection('producer');
  const producer = new Producer({ redis, prefix: settings.prefix });
  const queue = openQueue(redis, settings.prefix);
  const it = new Bridge({ ...bridgeOf(given), redis, producer, queue });
  try {
    if (flags.dryRun === true) return await tellWouldQueue(it, flags.json === true);
    const looked = await it.look(signal);
    if (flags.watch !== true) {
      const waits = looked.waiting === 0 ? '' : `, ${counted(looked.waiting, 'write-back')} waiting`;
      say(`${counted(looked.queued, 'task')} queued from ${printable(source.name)}, ${looked.open} open${waits}.`);
      return signal.aborted ? 130 : looked.faulty > 0 ? 1 : 0;
    }
    say(`Watching ${printable(source.name)}. Ctrl-C to stop.`);
    const stir = await Stir.open(await connected.connection('worker'), settings.prefix);
    try {
      await watch({ bridge: it, stir, intervalMs: given.intervalMs, signal, onAway: sayAway(source) });
    } finally {
      await stir.close();
    }
    return 0;
  } finally {
    await producer.close();
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await queue.close().catch(() => undefined);
  }
}

function bridgeOf({
  flags,
  target,
  source,
  limit,
  closeOn,
  insisted,
}: Work): Omit<BridgeOptions, 'redis' | 'producer' | 'queue'> {
  const { settings, plan, defaults, check } = target;
  const json = flags.json === true;
  return {
    source,
    prefix: settings.prefix,
    context: { repository: target.source.path, plan },
    defaults,
    check,
    limit,
    closeOn,
    insisted,
    onQueued: (item, taskId) => tell(json, { event: 'queued', item, taskId }, `${item} queued as ${taskId}`),
    onWritten: (note, written) => tellWritten(json, note, written),
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

async function tellWouldQueue(it: Bridge, json: boolean): Promise<number> {
  const { tasks, faulty } = await it.wouldQueue();
  for (const { task, where } of tasks) {
    tell(
      json,
      { event: 'would-queue', item: where, task },
      `${where} would be queued as ${task.id}: ${task.title ?? ''}`,
    );
  }
  say(`${counted(tasks.length, 'task')} would be queued; nothing was written.`);
  return faulty > 0 ? 1 : 0;
}

function sayAway(source: TaskSource): (error: Error | null) => void {
  return error => {
    if (error === null) say(`${printable(source.name)}: back again.`);
    else say(printable(`${error.message} What is to be written back waits until then.`));
  };
}
