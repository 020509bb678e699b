/** `cellpool cancel`: take tasks off the queue, and stop those that run, on whichever host. */
import { CANCEL_WAIT_MS, type Cancelled, cancelTasks } from '../producer/cancel.ts';
import { idFaults } from '../producer/task-ids.ts';
import { withRedis } from './connected.ts';
import { allOf, refuse, secondsOf } from './faults.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { printable } from './words.ts';

export interface CancelFlags extends CommonFlags {
  json?: boolean;
  /** Seconds, or false for `--no-wait`. */
  wait?: string | false;
}

export async function cancel(ids: readonly string[], flags: CancelFlags): Promise<number> {
  const [settings, waitMs] = allOf(
    () => settingsOf(flags),
    () => waitOf(flags),
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
    return runsOn || cancelled.some(({ how }) => how === 'unknown' || how === 'landing') ? 1 : 0;
  });
}

function waitOf({ wait }: CancelFlags): number {
  if (wait === undefined) return CANCEL_WAIT_MS;
  return wait === false ? 0 : secondsOf('--wait', wait);
}

function tell(cancelled: Cancelled, json: boolean): void {
  process.stdout.write(
    `${json ? JSON.stringify(cancelled) : `${printable(cancelled.taskId)} ${cancelledInWords(cancelled)}`}\n`,
  );
}

/** The end of a sentence that begins with the task's id. */
export function cancelledInWords({ how, outcome }: Cancelled): string {
  switch (how) {
    case 'removed':
      return 'is off the queue.';
    case 'cancelled':
      return 'ran, and was cancelled.';
    case 'ended':
      return `has ended: ${outcome ?? 'failed'}. Nothing was changed.`;
    case 'asked':
      return 'still runs; its worker has been told, and whoever takes it up next ends it.';
    case 'kept-back':
      return 'is committed and waited for its landing: its branch stays, and will not land.';
    case 'landing':
      return 'is committed, and its branch is just being tried where it is to land. Nothing was changed.';
    case 'unknown':
      return 'is not known: there is no such job.';
  }
}
