/** The call of `cellpool show`; what it does is in `../show.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS } from '../options.ts';
import type { ViewFlags } from '../viewing.ts';

const EXAMPLES = `
Examples:
  $ cellpool show fix-login
  $ cellpool show fix-login --json | jq '.results[-1].error'

Tells what the task is, how it stands, and of each attempt that has ended its outcome, stages, tokens, cost, changed
files and error, the commands that show and take its branch, and where its artifacts are.

Ends with 0, 1 when there is no such task, 2 on bad input, 3 when Redis is not there, 130 when interrupted.`;

export function addShowCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('show')
    .description('all of one task: prompt, plan, attempts, branch, errors')
    .argument('<id>', 'id of the task')
    .option('--json', 'one JSON object on stdout, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (id: string, flags: ViewFlags) => exit(await (await import('../show.ts')).show(id, flags)));
}
