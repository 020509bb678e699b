/** The call of `cellpool reap`; what it does is in `../reap.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS } from '../options.ts';
import type { ReapFlags } from '../reap.ts';

const EXAMPLES = `
Examples:
  $ cellpool reap --dry-run      # what would be removed, and why
  $ cellpool reap
  $ cellpool reap --json | jq 'select(.result == "fault")'

Removes the processes, control groups, workspaces, git pins and ports of cells whose worker on this host is proven dead, and gives
their jobs back; also the folders of ended cells that such a worker had not removed yet. Cells of living workers and of
other hosts are left alone. Workers do the same by themselves.

Ends with 0 when nothing is left to remove, 1 when something could not be removed, 2 on bad usage, 3 without Redis.`;

export function addReapCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('reap').description('remove what dead workers left on this host');
  addFlags(command, SITE_FLAGS)
    .option('--dry-run', 'change nothing, say what would be removed')
    .option('--json', 'one JSON object a line on stdout for everything that was reaped, left alone or at fault')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: ReapFlags) => exit(await (await import('../reap.ts')).reap(flags)));
}
