/** `cellpool retry`: work failed tasks anew, and at once those that wait for their next attempt. */
import type { Command } from 'commander';
import { type Retried, retryFailed, retryTasks } from '../producer/retry.ts';
import { idFaults } from '../producer/task-ids.ts';
import { withRedis } from './connected.ts';
import { allOf, refuse } from './faults.ts';
import { interruptible } from './interrupts.ts';
import { addFlags, type CommonFlags, SITE_FLAGS, settingsOf } from './options.ts';
import { say } from './outputs.ts';
import { printable } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool retry fix-login
  $ cellpool retry --failed                 # all that failed

A task that failed, or was cancelled, is queued with all its attempts, as it was enqueued; one that waits for its next
attempt is queued now. A worker must run to take them up.

Ends with 0 when each of them is queued or runs, 1 when one ended well or is not known, 2 on bad input (nothing was
queued), 3 when Redis is not there, 130 when interrupted.`;

interface RetryFlags extends CommonFlags {
  failed?: boolean;
  json?: boolean;
}

export function addRetryCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('retry')
    .description('work failed tasks anew, and delayed ones at once')
    .argument('[id...]', 'ids of the tasks')
    .option('--failed', 'all tasks that failed')
    .option('--json', 'one JSON object a line on stdout for each task, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (ids: string[], flags: RetryFlags) => exit(await retry(ids, flags)));
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
  process.stdout.write(`${json ? JSON.stringify(retried) : `${printable(retried.taskId)} ${inWords(retried)}`}\n`);
}

function inWords({ how, outcome }: Retried): string {
  switch (how) {
    case 'queued':
      return `is queued again; it had ended ${outcome ?? 'without an attempt'}.`;
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
