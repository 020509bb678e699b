/** The call of `cellpool stats`; what it does is in `../stats.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS } from '../options.ts';
import type { StatsFlags } from '../stats.ts';

const EXAMPLES = `
Examples:
  $ cellpool stats
  $ cellpool stats --hours 72
  $ cellpool stats --json | jq 'select(.kind == "total")'

Counts the attempts that have ended by hour and outcome, with their tokens and dollars; 192 hours are kept. The durations are those of the
last attempts of the 200 tasks that ended last. With --json a line each: kind is "hour", "queue" or "total".

Ends with 0, 2 on bad input, 3 when Redis is not there, 130 when interrupted.`;

export function addStatsCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('stats')
    .description('outcomes, tokens, cost and durations of the last hours')
    .option('--hours <n>', 'how many hours back, the present one included (default: 24)')
    .option('--json', 'one JSON object a line on stdout, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (flags: StatsFlags) => exit(await (await import('../stats.ts')).stats(flags)));
}
