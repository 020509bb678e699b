/** `cellpool cancel`: take tasks off the queue, and stop those that run, on whichever host. */
import type { Command } from 'commander';
import { CANCEL_WAIT_MS, type Cancelled, cancelTasks } from '../producer/cancel.ts';
import { idFaults } from '../producer/task-ids.ts';
import { withRedis } from './connected.ts';
import { allOf, refuse, secondsOf } from './faults.ts';
import { interruptible } from './interrupts.ts';
import { addFlags, type CommonFlags, SITE_FLAGS, settingsOf } from './options.ts';
import { say } from './outputs.ts';
import { printable } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool cancel fix-login bd-a1b2.3
  $ cellpool cancel fix-login --no-wait --json

A task that waits is taken off the queue. One that runs is stopped by its worker: the session is aborted, its changes
are reverted, and its outcome is "cancelled". One that has ended keeps its outcome.

Ends with 0 when each of them is known and runs no more (with --no-wait: has been told), 1 when there is no such job
or one still runs after the wait, 2 on bad input (nothing was cancelled), 3 when Redis is not there, 130 when
interrupted.`;

interface CancelFlags extends CommonFlags {
  json?: boolean;
  /** Seconds, or false for `--no-wait`. */
  wait: string | false;
}

export function addCancelCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('cancel')
    .description('take tasks off the queue, and stop those that run')
    .argument('<id...>', 'ids of the tasks')
    .option('--wait <seconds>', 'how long to wait until running ones have ended', String(CANCEL_WAIT_MS / 1_000))
    .option('--no-wait', 'tell the workers and be done')
    .option('--json', 'one JSON object a line on stdout for each task, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (ids: string[], flags: CancelFlags) => exit(await cancel(ids, flags)));
}

export async function cancel(ids: readonly string[], flags: CancelFlags): Promise<number> {
  const [settings, waitMs] = allOf(
    () => settingsOf(flags),
    () => (flags.wait === false ? 0 : secondsOf('--wait', flags.wait)),
    () => refuse(idFaults(ids)),
  );
  return interruptible(async stop => {
    const cancelled = await withRedis(
      settings,
      say,
      async connected =>
        cancelTasks({ redis: await connected.connection('producer'), prefix: settings.prefix }, ids, {
          waitMs,
          signal: stop.asked,
          onCancelled: one => tell(one, flags.json === true),
        }),
      stop.asked,
    );
    if (stop.asked.aborted) return 130;
    const runsOn = flags.wait !== false && cancelled.some(({ how }) => how === 'asked');
    return runsOn || cancelled.some(({ how }) => how === 'unknown') ? 1 : 0;
  });
}

function tell(cancelled: Cancelled, json: boolean): void {
  process.stdout.write(
    `${json ? JSON.stringify(cancelled) : `${printable(cancelled.taskId)} ${inWords(cancelled)}`}\n`,
  );
}

function inWords({ how, outcome }: Cancelled): string {
  switch (how) {
    case 'removed':
      return 'is off the queue.';
    case 'cancelled':
      return 'ran, and was cancelled.';
    case 'ended':
      return `has ended: ${outcome ?? 'failed'}. Nothing was changed.`;
    case 'asked':
      return 'still runs; its worker has been told, and whoever takes it up next ends it.';
    case 'unknown':
      return 'is not known: there is no such job.';
  }
}
