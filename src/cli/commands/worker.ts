/** The call of `cellpool worker`; what it does is in `../worker.ts`. */
import type { Command } from 'commander';
import { addFlags, SITE_FLAGS, WORKER_FLAGS } from '../options.ts';
import type { WorkerFlags } from '../worker.ts';

const EXAMPLES = `
Examples:
  $ cellpool worker --concurrency 50
  $ REDIS_URL=redis://queue.example:6379 cellpool worker     # on as many machines as you like
  $ cellpool worker --labels gpu,eu                          # takes tasks that ask for one of them, both or none

SIGTERM or Ctrl-C: takes no more jobs and gives the running attempts --grace seconds to end; those that have not by
then, or at a second signal, are cancelled and their jobs handed back, uncounted. A third one ends it at once.

Ends with 0 when every running attempt came to its end, 130 when jobs were handed back, 2 on bad input, 3 when Redis,
git or opencode is not there. Repositories must stand at the same path on every machine.

The work is done in a child process. When that dies, its jobs are given back at once and a new one is started. With
--board, the board is another child; its password or token is read from CELLPOOL_BOARD_AUTH or CELLPOOL_BOARD_TOKEN.`;

export function addWorkerCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('worker').description('take jobs from the queue and run a cell for each');
  addFlags(command, ['labels', ...WORKER_FLAGS, ...SITE_FLAGS])
    .option('--opencode-config <file>', 'JSON or YAML merged into the opencode config of the cells')
    .option('--no-supervisor', 'work in this process, and end when it dies')
    .option('--board', 'show the pool in the browser as well (see `cellpool board --help`)')
    .option('--board-port <n>', 'port of the board; 0: one that is free', '3000')
    .option('--board-host <address>', 'address the board listens on', '127.0.0.1')
    .option('--json', 'one JSON object a line on stdout for every attempt that ends')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: WorkerFlags) => exit(await (await import('../worker.ts')).worker(flags)));
}
