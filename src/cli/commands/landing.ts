/** The call of `cellpool landing`; what it does is in `../landing.ts`. */
import type { Command } from 'commander';
import type { LandingFlags } from '../landing.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool landing
  $ cellpool landing fix-login
  $ cellpool landing --limit 200 --json | jq -r 'select(.state == "refused") | .taskId'

Tells of the finished branches of tasks that are to land (--land merge or push): those being tried, those in line, by
target and in their order, with why nothing lands there for now, and what became of those that ended last. A landed one
is on its target; a returned one is worked anew; a refused one stays on its branch, and somebody is to look at it. Of
tasks that are named it also tells why, with what the tests printed.

Ends with 0, 2 on bad input, 3 when Redis is not there, 130 when interrupted.`;

export function addLandingCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('landing')
    .description('finished branches on their way onto their targets, and what became of them')
    .argument('[task...]', 'ids of tasks, to be told of no others')
    .option('--limit <n>', 'how many of the ended ones at most (default: 20)')
    .option('--json', 'one JSON object a line on stdout for each, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (ids: string[], flags: LandingFlags) =>
      exit(await (await import('../landing.ts')).landing(ids, flags)),
    );
}
