/** The call of `cellpool board`; what it does is in `../board.ts`. */
import type { Command } from 'commander';
import type { BoardFlags } from '../board.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool board
  $ CELLPOOL_BOARD_AUTH=ada:correct-horse cellpool board --host 0.0.0.0
  $ ssh -N -L 3000:127.0.0.1:3000 build-7      # the board of another machine, at http://127.0.0.1:3000/

A page of the pool in the browser, with Bull Board at /queues and the same facts as JSON at /api/pool. Its address goes
to stdout. Whoever can reach it can read prompts and transcripts, and cancel tasks: on this machine alone it may be
without a password, any other --host is refused without one. Variables are not seen by other users, flags are.

Ctrl-C or SIGTERM ends it. Ends with 0, 2 on bad input, 3 when Redis is not there or the port is taken.`;

export function addBoardCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('board').description('show the pool in the browser');
  addFlags(command, SITE_FLAGS)
    .option('--port <n>', 'port to listen on; 0: one that is free', '3000')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--auth <user:password>', 'who may use it (CELLPOOL_BOARD_AUTH)')
    .option('--token <text>', 'or with this token (CELLPOOL_BOARD_TOKEN)')
    .option('--json', 'one JSON object on stdout that tells the address')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: BoardFlags) => exit(await (await import('../board.ts')).board(flags)));
}
