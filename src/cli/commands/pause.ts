/** The calls of `cellpool pause` and `cellpool resume`; what they do is in `../pause.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS } from '../options.ts';
import type { PauseFlags } from '../pause.ts';

const PAUSE_EXAMPLES = `
Examples:
  $ cellpool pause
  $ cellpool resume

No worker takes another job, on any host; running attempts go on to their end. It lasts until \`cellpool resume\`.

Ends with 0, 3 when Redis is not there.`;

const RESUME_EXAMPLES = `
Examples:
  $ cellpool resume

Lets the workers take jobs again, and ends the cool-downs of providers: the next attempt asks them anew.

Ends with 0, 3 when Redis is not there.`;

export function addPauseCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('pause')
    .description('let no worker take another job; running attempts go on')
    .option('--json', 'one JSON object on stdout, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', PAUSE_EXAMPLES)
    .action(async (flags: PauseFlags) => exit(await (await import('../pause.ts')).pause(flags)));
}

export function addResumeCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('resume')
    .description('let the workers take jobs again, and end cool-downs of providers')
    .option('--json', 'one JSON object on stdout, and nothing else there');
  addFlags(command, SITE_FLAGS)
    .addHelpText('after', RESUME_EXAMPLES)
    .action(async (flags: PauseFlags) => exit(await (await import('../pause.ts')).resume(flags)));
}
