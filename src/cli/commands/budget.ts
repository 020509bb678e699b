/** The calls of `cellpool budget`; what they do is in `../budget.ts`. */
import type { Command } from 'commander';
import type { BudgetFlags } from '../budget.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const MEANING = `
Day: a calendar day in UTC. Fleet: everything since its first limit was set, or since \`cellpool budget reset\`. Tokens are
counted like those of an attempt; dollars as far as opencode knows the prices of the models. When a budget is used up,
running agents are stopped, and no worker on any host begins another attempt: the tasks wait, uncounted, until the day
is over or the budget is raised.`;

const EXIT = 'Ends with 0, 2 on bad input (nothing was set), 3 when Redis is not there.';

const SHOW_EXAMPLES = `
Examples:
  $ cellpool budget
  $ cellpool budget set --day 2M --day-usd 20
  $ cellpool budget set --fleet 50M
  $ cellpool budget set --day off
  $ cellpool budget reset
${MEANING}

${EXIT}`;

const SET_EXAMPLES = `
Examples:
  $ cellpool budget set --day 2M --day-usd 20
  $ cellpool budget set --fleet 50M --day off

Tokens are written 1500000, 1500k or 1.5M, and \`off\` takes a limit away. What is not named stays as it is. Tasks that
wait for a budget are queued at once when there is something left of it.
${MEANING}

${EXIT}`;

const RESET_EXAMPLES = `
Examples:
  $ cellpool budget reset

Begins to count the fleet's use anew. Its limits, and what the day has used, stay.

${EXIT}`;

export function addBudgetCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('budget')
    .description('show and set what a day and the fleet may use')
    // `--json` behind `set` belongs to `set`.
    .enablePositionalOptions();
  withSiteFlags(command, SHOW_EXAMPLES).action(async (flags: BudgetFlags) =>
    exit(await (await import('../budget.ts')).showBudget(flags)),
  );
  const set = command
    .command('set')
    .description('set limits, or take them away')
    .option('--day <tokens>', 'tokens of a day, or off')
    .option('--day-usd <n>', 'US dollars of a day, or off')
    .option('--fleet <tokens>', 'tokens of the fleet, or off')
    .option('--fleet-usd <n>', 'US dollars of the fleet, or off');
  withSiteFlags(set, SET_EXAMPLES).action(async (_: unknown, self: Command) => {
    exit(await (await import('../budget.ts')).setBudget(self.optsWithGlobals()));
  });
  const reset = command.command('reset').description("count the fleet's use anew");
  withSiteFlags(reset, RESET_EXAMPLES).action(async (_: unknown, self: Command) => {
    exit(await (await import('../budget.ts')).resetBudget(self.optsWithGlobals()));
  });
}

function withSiteFlags(command: Command, examples: string): Command {
  command.option('--json', 'one JSON object on stdout, and nothing else there');
  return addFlags(command, SITE_FLAGS).addHelpText('after', examples);
}
