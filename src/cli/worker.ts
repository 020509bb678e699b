/** `cellpool worker`: work off the queue until told to stop, in a child process that is started anew when it dies. */
import type { Command } from 'commander';
import { findOpencode } from '../cell/opencode-binary.ts';
import type { Settings } from '../config.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { chooseIsolation } from '../os/isolation.ts';
import { isSupervised, onInterrupt } from '../os/shutdown.ts';
import { Supervisor } from '../worker/supervisor.ts';
import { WorkerPool } from '../worker/worker.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, type StopRequests } from './interrupts.ts';
import { addFlags, type CommonFlags, SITE_FLAGS, settingsOf, WORKER_FLAGS } from './options.ts';
import { say } from './outputs.ts';
import { reapRound } from './reap.ts';
import { endInWords, endWhenAsked } from './stopping.ts';
import { counted, duration, isolationInWords, printable } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool worker --concurrency 50
  $ REDIS_URL=redis://queue.example:6379 cellpool worker     # on as many machines as you like

SIGTERM or Ctrl-C: takes no more jobs and gives the running attempts --grace seconds to end; those that have not by
then, or at a second signal, are cancelled and their jobs handed back, uncounted. A third one ends it at once.

Ends with 0 when every running attempt came to its end, 130 when jobs were handed back, 2 on bad input, 3 when Redis,
git or opencode is not there. Repositories must stand at the same path on every machine.

The work is done in a child process. When that dies, its jobs are given back at once and a new one is started.`;

interface WorkerFlags extends CommonFlags {
  json?: boolean;
  /** False for `--no-supervisor`. */
  supervisor?: boolean;
}

export function addWorkerCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('worker').description('take jobs from the queue and run a cell for each');
  addFlags(command, [...WORKER_FLAGS, ...SITE_FLAGS])
    .option('--opencode-config <file>', 'JSON or YAML merged into the opencode config of the cells')
    .option('--no-supervisor', 'work in this process, and end when it dies')
    .option('--json', 'one JSON object a line on stdout for every attempt that ends')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: WorkerFlags) => exit(await worker(flags)));
}

export async function worker(flags: WorkerFlags): Promise<number> {
  const settings = settingsOf(flags);
  if (flags.supervisor !== false && !isSupervised()) return supervise(settings);
  // A worker without it would take jobs from workers that have it, and fail them.
  await findOpencode(settings.opencodeBin);
  await chooseIsolation(settings.isolation.level, settings.isolation.readable);
  return interruptible(stop =>
    withRedis(settings, say, connected => workUntilStopped(settings, flags.json === true, connected, stop), stop.asked),
  );
}

/** Runs this very command in a child. */
async function supervise(settings: Settings): Promise<number> {
  const supervisor = new Supervisor({
    argv: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    env: process.env,
    say,
    recover: () => recover(settings),
  });
  const pass = (signal: NodeJS.Signals) => supervisor.stop(signal);
  const interrupts = onInterrupt(pass, pass);
  try {
    return await supervisor.run();
  } finally {
    interrupts.dispose();
  }
}

/** Every cell of a provider meets the same refusal, and every task the same budget; it is said once a minute. */
const RARELY_MS = 60_000;

function sayRarely(): (what: string, message: string) => void {
  const saidAt = new Map<string, number>();
  return (what, message) => {
    if (performance.now() - (saidAt.get(what) ?? Number.NEGATIVE_INFINITY) < RARELY_MS) return;
    saidAt.set(what, performance.now());
    say(printable(message));
  };
}

/** Gives back the jobs of the worker that has just died, and removes what it left. */
async function recover(settings: Settings): Promise<void> {
  const { reaped, faults } = await withRedis(settings, say, connected => reapRound(settings, false, connected));
  const back = reaped.filter(({ jobGivenBack }) => jobGivenBack).length;
  if (back > 0) say(`${counted(back, 'job')} given back.`);
  for (const { kind, name, step, message } of faults) say(printable(`${kind} ${name}: ${step}: ${message}`));
}

/** 0 when every running attempt came to its end, 130 when jobs were handed back. */
async function workUntilStopped(
  settings: Settings,
  json: boolean,
  connected: Connected,
  stop: StopRequests,
): Promise<number> {
  const redactor = new Redactor(secretsOfWorker(settings));
  const rarely = sayRarely();
  const pool = await WorkerPool.start({
    settings,
    redis: await connected.connection('worker'),
    // A person at a terminal reads the outcomes; the log's JSON is for files.
    log: createLogger(settings.logLevel ?? (process.stderr.isTTY ? 'warn' : 'info'), redactor),
    redactor,
    onRefused: (provider, reason) =>
      rarely(provider, `${reason} Tasks of ${provider} wait: put its key right, then start this worker anew.`),
    onUsedUp: reason => rarely(reason, `No more attempts for now: ${reason}.`),
    onHeld: why => say(why === null ? 'Cells are begun again.' : `No more cells for now: ${why}.`),
    onResult: result => {
      const { taskId, attempt, outcome, metrics } = result;
      const line = `${taskId}  attempt ${attempt}  ${outcome}  ${duration(metrics.totalMs)}`;
      process.stdout.write(`${json ? JSON.stringify(result) : line}\n`);
    },
  });
  say(`Working with up to ${pool.concurrency} cells (${connected.origin} Redis). Ctrl-C to stop.`);
  say(printable(isolationInWords(pool.isolation)));
  const end = await endWhenAsked(pool, stop, settings.graceMs, say);
  say(endInWords(end));
  return end.handedBack > 0 ? 130 : 0;
}
