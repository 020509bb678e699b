/** The call of `cellpool land`; what it does is in `../land.ts`. */
import type { Command } from 'commander';
import type { LandFlags } from '../land.ts';
import { addFlags, LIMIT_FLAGS, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool land                              # what waits, until nothing is left to land
  $ cellpool land login-page --land-on main    # the branch of this task as well
  $ cellpool land --watch --batch 10           # keep landing; workers do so, too

A finished branch is merged with its target in a place of its own, its tests run there, and the target moves from where it
was to exactly what was tested, or not at all. Nothing is checked out in your working copy; a target that is checked out
there waits until you are on another branch. What contradicts the target, or turns its tests red, goes back to the pool
as a new attempt, and after some of these to you: see \`cellpool landing\`.

Ends with 0 when nothing is left to land, 1 when something was not landed or is held up, 2 on bad input, 3 when Redis,
git or a remote is not there, 130 when interrupted; with --watch 0 when it is stopped.`;

export function addLandCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('land')
    .description('bring finished branches onto their targets')
    .argument('[ids...]', 'tasks whose branches are to land, also those that did not ask for it')
    .option('--watch', 'keep going: land what comes')
    .option('--json', 'one JSON object a line on stdout for each branch, and nothing else there');
  addFlags(command, ['land', 'landOn', 'batch', 'labels', 'isolation', ...LIMIT_FLAGS, 'logLevel', ...SITE_FLAGS])
    .addHelpText('after', EXAMPLES)
    .action(async (ids: string[], flags: LandFlags) => exit(await (await import('../land.ts')).land(ids, flags)));
}
