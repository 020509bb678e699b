/** `cellpool pause` and `cellpool resume`: no worker on any host begins an attempt, until they may again. */
import { openQueue, type TaskQueue } from '../job/queue.ts';
import { pausePool, resumePool } from '../producer/pause.ts';
import { Cooldowns } from '../redis/cooldown.ts';
import { withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { counted } from './words.ts';

export interface PauseFlags extends CommonFlags {
  json?: boolean;
}

export async function pause(flags: PauseFlags): Promise<number> {
  return withQueue(flags, async queue => {
    const { changed } = await pausePool(queue);
    const counts = await countsOf(queue);
    if (flags.json === true) return JSON.stringify({ paused: true, changed, ...counts });
    return `${changed ? 'Paused' : 'Was paused already'}: ${inWords(counts)}. \`cellpool resume\` goes on.`;
  });
}

export async function resume(flags: PauseFlags): Promise<number> {
  return withQueue(flags, async (queue, cooldowns) => {
    const { changed, cooldownsEnded } = await resumePool(queue, cooldowns);
    const counts = await countsOf(queue);
    if (flags.json === true) return JSON.stringify({ paused: false, changed, ...counts, cooldownsEnded });
    return `${changed ? 'Resumed' : 'Was not paused'}: ${inWords(counts)}.${cooldownsInWords(cooldownsEnded)}`;
  });
}

/** A sentence to follow another; empty when none was ended. */
export function cooldownsInWords(ended: number): string {
  return ended === 0 ? '' : ` ${counted(ended, 'cool-down')} of providers ended.`;
}

interface Counts {
  waiting: number;
  running: number;
}

/** Waiting are also those that wait for their next attempt. */
async function countsOf(queue: TaskQueue): Promise<Counts> {
  const { active = 0, ...others } = await queue.getJobCounts('active', 'waiting', 'prioritized', 'delayed');
  return { waiting: Object.values(others).reduce((sum, count) => sum + count, 0), running: active };
}

function inWords({ waiting, running }: Counts): string {
  return `${counted(waiting, 'task')} waiting, ${running} running`;
}

async function withQueue(
  flags: PauseFlags,
  answer: (queue: TaskQueue, cooldowns: Cooldowns) => Promise<string>,
): Promise<number> {
  const settings = settingsOf(flags);
  const { prefix } = settings;
  return interruptible(async stop => {
    const text = await withRedis(
      settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const queue = openQueue(redis, prefix);
        return answer(queue, new Cooldowns(redis, { prefix })).finally(() => queue.close());
      },
      stop.asked,
    );
    process.stdout.write(`${text}\n`);
    return 0;
  });
}
