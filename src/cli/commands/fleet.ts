/** The calls of `cellpool fleet`; what they do is in `../fleet.ts`. */
import type { Command } from 'commander';
import type { FleetFlags } from '../fleet.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const MEANING = `
A cap holds for all workers of all hosts on the same Redis, on top of each worker's --concurrency. Tasks that get no cell
stay where they are in the queue, uncounted. Cells that live when a cap is lowered come to their end.`;

const EXIT = 'Ends with 0, 2 on bad input (nothing was set), 3 when Redis is not there.';

const SHOW_EXAMPLES = `
Examples:
  $ cellpool fleet
  $ cellpool fleet set --cells 40 --host-cells 10
  $ cellpool fleet off
${MEANING}

${EXIT}`;

const SET_EXAMPLES = `
Examples:
  $ cellpool fleet set --cells 40
  $ cellpool fleet set --host-cells 10 --cells off

\`off\` takes a cap away, 0 lets no cell begin. What is not named stays as it is.
${MEANING}

${EXIT}`;

const OFF_EXAMPLES = `
Examples:
  $ cellpool fleet off

Takes both caps away; each worker's own --concurrency and --host-concurrency stay.

${EXIT}`;

export function addFleetCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('fleet')
    .description('show the hosts and their cells, and cap how many cells live at once')
    // `--json` behind `set` belongs to `set`.
    .enablePositionalOptions();
  withSiteFlags(command, SHOW_EXAMPLES).action(async (flags: FleetFlags) =>
    exit(await (await import('../fleet.ts')).showFleet(flags)),
  );
  const set = command
    .command('set')
    .description('set caps, or take them away')
    .option('--cells <n>', 'cells of all hosts together, or off')
    .option('--host-cells <n>', 'cells of each host, or off');
  withSiteFlags(set, SET_EXAMPLES).action(async (_: unknown, self: Command) => {
    exit(await (await import('../fleet.ts')).setFleet(self.optsWithGlobals()));
  });
  const off = command.command('off').description('take both caps away');
  withSiteFlags(off, OFF_EXAMPLES).action(async (_: unknown, self: Command) => {
    exit(await (await import('../fleet.ts')).setFleet({ ...self.optsWithGlobals(), cells: 'off', hostCells: 'off' }));
  });
}

function withSiteFlags(command: Command, examples: string): Command {
  command.option('--json', 'one JSON object on stdout, and nothing else there');
  return addFlags(command, SITE_FLAGS).addHelpText('after', examples);
}
