/** The call of `cellpool ps`; what it does is in `../ps.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS } from '../options.ts';
import type { PsFlags } from '../ps.ts';

const EXAMPLES = `
Examples:
  $ cellpool ps
  $ cellpool ps --watch
  $ cellpool ps --json | jq -r 'select(.kind == "cell" and .stage == "test") | .taskId'

Tells of the cells of all hosts, those of dead workers too, and how many workers, slots and tasks there are. With
--json a line each: kind is "cell", "worker", "queue", "target" (of landings) or "cooldown". --watch goes on until
Ctrl-C.

Ends with 0, 3 when Redis is not there, 130 when interrupted.`;

export function addPsCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('ps')
    .description('the cells at work now, on all hosts')
    .option('-w, --watch', 'go on, and show what changes')
    .option('--json', 'one JSON object a line on stdout, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (flags: PsFlags) => exit(await (await import('../ps.ts')).ps(flags)));
}
