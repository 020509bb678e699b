/** `cellpool ps`: the cells at work now, on all hosts, and how the pool stands. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogUpdate } from 'log-update';
import type { ViewContext } from '../board/view/context.ts';
import type { PoolFacts } from '../board/view/facts.ts';
import { readPool } from '../board/view/pool-facts.ts';
import { poolInWords, queuesOf } from './pool-words.ts';
import { settingsOf } from './settings-of.ts';
import { tellJson, type ViewFlags, viewing } from './viewing.ts';

export interface PsFlags extends ViewFlags {
  watch?: boolean;
}

/** How often it is looked again. */
const LOOK_MS = 1_000;

export async function ps(flags: PsFlags): Promise<number> {
  return viewing(settingsOf(flags), async (context, stop) => {
    if (flags.watch === true) await watch(context, stop, flags);
    else tell(await look(context), flags);
    return 0;
  });
}

function look(context: ViewContext): Promise<PoolFacts> {
  return readPool(context, { hours: 0, latest: 0 });
}

function tell(pool: PoolFacts, { json = false }: PsFlags): void {
  if (!json) {
    process.stdout.write(`${poolInWords(pool)}\n`);
    return;
  }
  for (const cell of pool.cells) tellJson({ kind: 'cell', ...cell });
  for (const worker of pool.workers) tellJson({ kind: 'worker', ...worker });
  for (const queue of queuesOf(pool)) tellJson({ kind: 'queue', ...queue });
  for (const target of pool.landings.targets) tellJson({ kind: 'target', ...target });
  // What a cool-down calls its kind is told as its state here.
  for (const { kind, ...cooldown } of pool.cooldowns) tellJson({ kind: 'cooldown', state: kind, ...cooldown });
}

/** On a terminal in place; anywhere else anew whenever something has changed but the time. Until it is interrupted. */
async function watch(context: ViewContext, stop: AbortSignal, flags: PsFlags): Promise<void> {
  // A terminal that says it has no rows would be shown nothing.
  const hasRows = process.stdout.isTTY && process.stdout.rows > 0;
  const paint = hasRows && flags.json !== true ? createLogUpdate(process.stdout) : null;
  let last: string | null = null;
  try {
    while (!stop.aborted) {
      const pool = await look(context);
      const now = withoutTimes(pool);
      if (paint !== null) paint(poolInWords(pool));
      else if (now !== last) {
        if (last !== null && flags.json !== true) process.stdout.write('\n');
        tell(pool, flags);
      }
      last = now;
      await sleep(LOOK_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  } finally {
    paint?.done();
  }
}

const TIMES = new Set(['at', 'lastSignAt', 'memoryBytes']);

function withoutTimes(pool: PoolFacts): string {
  return JSON.stringify(pool, (key, value) => (TIMES.has(key) ? undefined : value));
}
