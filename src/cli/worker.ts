/** `cellpool worker`: work off the queue until told to stop. */
import type { Command } from 'commander';
import { findOpencode } from '../cell/opencode-binary.ts';
import type { Settings } from '../config.ts';
import { createLogger } from '../observe/logger.ts';
import { WorkerPool } from '../worker/worker.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, type StopRequests, whenAborted } from './interrupts.ts';
import { addFlags, type CommonFlags, SITE_FLAGS, settingsOf, WORKER_FLAGS } from './options.ts';
import { duration } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool worker --concurrency 50
  $ REDIS_URL=redis://queue.example:6379 cellpool worker     # on as many machines as you like

SIGTERM or Ctrl-C: takes no more jobs and lets the running attempts end; a second one cancels them and hands their
jobs back, uncounted. Repositories must stand at the same path on every machine.`;

export function addWorkerCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('worker').description('take jobs from the queue and run a cell for each');
  addFlags(command, [...WORKER_FLAGS, ...SITE_FLAGS])
    .option('--opencode-config <file>', 'JSON or YAML merged into the opencode config of the cells')
    .option('--json', 'one JSON object a line on stdout for every attempt that ends')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: CommonFlags & { json?: boolean }) => exit(await worker(flags)));
}

export async function worker(flags: CommonFlags & { json?: boolean }): Promise<number> {
  const settings = settingsOf(flags);
  // A worker without it would take jobs from workers that have it, and fail them.
  await findOpencode(settings.opencodeBin);
  return interruptible(stop =>
    withRedis(settings, say, connected => workUntilStopped(settings, flags.json === true, connected, stop), stop.asked),
  );
}

const say = (message: string) => process.stderr.write(`${message}\n`);

/** 0 after a drain, 130 when the running attempts were cancelled. */
async function workUntilStopped(
  settings: Settings,
  json: boolean,
  connected: Connected,
  stop: StopRequests,
): Promise<number> {
  const pool = await WorkerPool.start({
    settings,
    redis: await connected.connection('worker'),
    // A person at a terminal reads the outcomes; the log's JSON is for files.
    log: createLogger(settings.logLevel ?? (process.stderr.isTTY ? 'warn' : 'info')),
    onResult: result => {
      const { taskId, attempt, outcome, metrics } = result;
      const line = `${taskId}  attempt ${attempt}  ${outcome}  ${duration(metrics.totalMs)}`;
      process.stdout.write(`${json ? JSON.stringify(result) : line}\n`);
    },
  });
  say(`Working with up to ${pool.concurrency} cells (${connected.origin} Redis). Ctrl-C to stop.`);
  whenAborted(stop.insisted, () => {
    say('Stopping the running attempts and handing their jobs back.');
    void pool.stop();
  });
  await new Promise<void>(resolve => whenAborted(stop.asked, resolve));
  say(`Letting ${pool.running.length} running attempts end; once more stops them now.`);
  await pool.drain();
  return stop.insisted.aborted ? 130 : 0;
}
