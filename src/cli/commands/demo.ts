/** The call of `cellpool demo`; what it does is in `../demo.ts`. */
import type { Command } from 'commander';
import type { DemoFlags } from '../demo.ts';

const EXAMPLES = `
Examples:
  $ cellpool demo
  $ cellpool demo --folder /tmp/try --concurrency 2

Makes everything anew below its folder each time: a repository, a state folder with a private Redis, and the commits.`;

export function addDemoCommand(program: Command, exit: (code: number) => void): void {
  program
    .command('demo')
    .description('watch real agents with a scripted model work on a sample repository')
    .option('--folder <folder>', 'where to make it', 'cellpool-demo')
    .option('--concurrency <n>', 'cells at once', '3')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: DemoFlags) => exit(await (await import('../demo.ts')).demo(flags)));
}
