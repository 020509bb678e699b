/** What the commands for task sources are called with; `bridge.ts` does it. */
import type { Command } from 'commander';
import { addTargetFlags, type TargetFlags } from './task-flags.ts';

export interface BridgeFlags extends TargetFlags {
  watch?: boolean;
  interval: string;
  limit?: string;
  dryRun?: boolean;
  closeOn: string;
}

/** `what`: how the items of the source are called, in the plural. */
export function addBridgeFlags(command: Command, what: string): Command {
  addTargetFlags(command)
    .option('--watch', `keep going: put on the queue what becomes ready, and write back what becomes of it`)
    .option('--interval <time>', 'with --watch: how often to look when nothing happens, such as 15s or 2m', '15s')
    .option('--limit <n>', `no more than so many ${what} on the queue at one time`)
    .option('--dry-run', 'print what would be put on the queue; nothing is written')
    .option('--close-on <when>', `commit or landed: when ${what} are closed`, 'commit');
  return command;
}
