/** `cellpool retry`: work failed tasks anew, and at once those that wait for their next attempt. */
import { type Retried, retryFailed, retryTasks } from '../producer/retry.ts';
import { idFaults } from '../producer/task-ids.ts';
import { withRedis } from './connected.ts';
import { allOf, refuse } from './faults.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { printable } from './words.ts';

export interface RetryFlags extends CommonFlags {
  failed?: boolean;
  json?: boolean;
}

export async function retry(ids: readonly string[], flags: RetryFlags): Promise<number> {
  const failed = flags.failed === true;
  const [settings] = allOf(
    () => settingsOf(flags),
    () => refuse(idFaults(ids)),
    () => {
      if (failed && ids.length > 0) refuse([{ where: '--failed', what: 'goes without ids' }]);
      if (!failed && ids.length === 0) refuse([{ where: 'id', what: 'name the tasks, or say --failed' }]);
    },
  );
  return interruptible(async stop => {
    const retried = await withRedis(
      settings,
      say,
      async connected => {
        const context = { redis: await connected.connection('producer'), prefix: settings.prefix };
        return failed ? retryFailed(context) : retryTasks(context, ids);
      },
      stop.asked,
    );
    for (const one of retried) tell(one, flags.json === true);
    if (failed && retried.length === 0) say('No task has failed.');
    if (stop.asked.aborted) return 130;
    return retried.some(({ how }) => how === 'ended' || how === 'refused' || how === 'unknown') ? 1 : 0;
  });
}

function tell(retried: Retried, json: boolean): void {
  process.stdout.write(
    `${json ? JSON.stringify(retried) : `${printable(retried.taskId)} ${retriedInWords(retried)}`}\n`,
  );
}

/** The end of a sentence that begins with the task's id. */
export function retriedInWords({ how, outcome, remark }: Retried): string {
  switch (how) {
    case 'queued': {
      const more = remark === undefined ? '' : ` But ${printable(remark)}.`;
      return `is queued again; it had ended ${outcome ?? 'without an attempt'}.${more}`;
    }
    case 'promoted':
      return 'waited for its next attempt, and is queued now.';
    case 'waiting':
      return 'is queued already.';
    case 'running':
      return 'runs already.';
    case 'ended':
      return `has ended well (${outcome ?? 'completed'}); \`cellpool enqueue --again\` works it anew.`;
    case 'refused':
      return 'is no job of cellpool, and is left alone.';
    case 'unknown':
      return 'is not known: there is no such job.';
  }
}
