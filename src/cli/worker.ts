/** `cellpool worker`: work off the queue until told to stop, in a child process that is started anew when it dies. */
import { tryToListen } from '../board/listen.ts';
import type { Settings } from '../config.ts';
import { isSupervised, onInterrupt } from '../os/shutdown.ts';
import { Supervisor } from '../worker/supervisor.ts';
import { type BoardPlace, placeOf } from './board-place.ts';
import { allOf, refuse } from './faults.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { counted, printable } from './words.ts';

export interface WorkerFlags extends CommonFlags {
  json?: boolean;
  /** False for `--no-supervisor`. */
  supervisor?: boolean;
  board?: boolean;
  boardPort: string;
  boardHost: string;
}

export async function worker(flags: WorkerFlags): Promise<number> {
  const [settings, place] = allOf(
    () => settingsOf(flags),
    () => boardOf(flags),
  );
  if (flags.supervisor !== false && !isSupervised()) return supervise(settings, place);
  // What the work needs is loaded by the process that does it; the one that watches over it stays small.
  const { workUntilStopped } = await import('./work.ts');
  return workUntilStopped(settings, flags.json === true);
}

/** Where the board is to listen; null when none is wanted. @throws {InvalidInput} */
function boardOf({ board, boardPort, boardHost, supervisor }: WorkerFlags): BoardPlace | null {
  if (board !== true) return null;
  if (supervisor === false) {
    refuse([{ where: '--board', what: 'goes with the supervisor only; run `cellpool board` beside this worker' }]);
  }
  return placeOf({ port: boardPort, host: boardHost }, { port: '--board-port', host: '--board-host' });
}

/** Runs this very command in a child, and the board in another, so that neither's death is the other's. */
async function supervise(settings: Settings, place: BoardPlace | null): Promise<number> {
  if (place !== null) await tryToListen(place.host, place.port);
  const worker = new Supervisor({
    argv: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    env: process.env,
    say,
    recover: () => recover(settings),
  });
  const board = place === null ? null : superviseBoard(settings, place);
  const pass = (signal: NodeJS.Signals) => {
    worker.stop(signal);
    board?.stop(signal);
  };
  const interrupts = onInterrupt(pass, pass);
  let isOver = false;
  const shown = board?.run().then(code => {
    if (!isOver && interrupts.received === null) {
      say(`The board has ended with ${code}; the worker goes on without it.`);
    }
  });
  try {
    return await worker.run();
  } finally {
    isOver = true;
    if (interrupts.received === null) board?.stop('SIGTERM');
    await shown;
    interrupts.dispose();
  }
}

/** Secrets of the board go through the environment, where other users do not see them. */
function superviseBoard({ home, redisUrl }: Settings, { host, port }: BoardPlace): Supervisor {
  const [program = ''] = process.argv.slice(1);
  return new Supervisor({
    name: 'board',
    argv: [process.execPath, ...process.execArgv, program, 'board', '--host', host, '--port', String(port)],
    env: { ...process.env, CELLPOOL_HOME: home, ...(redisUrl === undefined ? {} : { REDIS_URL: redisUrl }) },
    say,
    recover: async () => undefined,
  });
}

/** Gives back the jobs of the worker that has just died, and removes what it left. */
async function recover(settings: Settings): Promise<void> {
  const [{ withRedis }, { reapRound }] = await Promise.all([import('./connected.ts'), import('./reap.ts')]);
  const { reaped, faults } = await withRedis(settings, say, connected => reapRound(settings, false, connected));
  const back = reaped.filter(({ jobGivenBack }) => jobGivenBack).length;
  if (back > 0) say(`${counted(back, 'job')} given back.`);
  for (const { kind, name, step, message } of faults) say(printable(`${kind} ${name}: ${step}: ${message}`));
}
