/** The calls of `cellpool beads`; what they do is in `../beads.ts`. */
import type { Command } from 'commander';
import type { BeadsFlags, BeadsStatusFlags } from '../beads.ts';
import { addBridgeFlags } from '../bridge-flags.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool beads --repo . --label agent --dry-run      # what would be worked
  $ cellpool beads --repo . --label agent                # put it on the queue, and write back what has ended
  $ cellpool beads --repo . --watch                      # keep going; workers run elsewhere: cellpool worker
  $ cellpool beads status --repo .                       # beads beside their jobs

A bead that is ready, unassigned and no epic becomes one task. It is claimed when its first attempt begins, closed when
its work is committed, and released with the reason and a label when it is given up. Beads labelled cellpool-... are
left alone: take the label off to have one worked again. Nothing is lost while bd is away.

Ends with 0, 1 when a bead cannot be worked as it is written, 2 on bad input, 3 when bd, its database or Redis is not
there, 130 when interrupted; with --watch 0 when it is stopped.`;

const STATUS_EXAMPLES = `
Examples:
  $ cellpool beads status --repo . --json

Ends with 0, 3 when bd, its database or Redis is not there.`;

export function addBeadsCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('beads')
    .description('put ready beads on the queue, and write back what becomes of them')
    // `--json` behind `status` belongs to `status`.
    .enablePositionalOptions();
  addBridgeFlags(command, 'beads')
    .option('--label <label>', 'only beads that carry this label')
    .option('--allow-labels <names>', 'what labels of beads may set, of model, budget and test, such as model,budget')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: BeadsFlags) => exit(await (await import('../beads.ts')).beads(flags)));
  const status = command.command('status').description('beads beside their jobs');
  addFlags(status, SITE_FLAGS)
    .option('--repo <folder>', 'the git repository whose beads are meant', '.')
    .option('--json', 'one JSON object a line on stdout for each bead, and nothing else there')
    .addHelpText('after', STATUS_EXAMPLES)
    .action(async (_: unknown, self: Command) =>
      exit(await (await import('../beads.ts')).beadsStatus(self.optsWithGlobals<BeadsStatusFlags>())),
    );
}
