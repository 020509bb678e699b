/** What a `cellpool worker` does: takes jobs until it is told to stop. */
import { findOpencode } from '../cell/opencode-binary.ts';
import type { Settings } from '../config.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { chooseIsolation } from '../os/isolation.ts';
import { WorkerPool } from '../worker/worker.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, type StopRequests } from './interrupts.ts';
import { say } from './outputs.ts';
import { endInWords, endWhenAsked } from './stopping.ts';
import { cellsInWords, duration, printable } from './words.ts';

/** 0 when every running attempt came to its end, 130 when jobs were handed back. */
export async function workUntilStopped(settings: Settings, json: boolean): Promise<number> {
  // A worker without it would take jobs from workers that have it, and fail them.
  await findOpencode(settings.opencodeBin);
  await chooseIsolation(settings.isolation.level, settings.isolation.readable);
  return interruptible(stop =>
    withRedis(settings, say, connected => workWith(settings, json, connected, stop), stop.asked),
  );
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

async function workWith(settings: Settings, json: boolean, connected: Connected, stop: StopRequests): Promise<number> {
  const redactor = new Redactor(secretsOfWorker(settings));
  const rarely = sayRarely();
  const pool = await WorkerPool.start({
    settings,
    redis: await connected.connection('worker'),
    tracing: await connected.tracing(),
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
  for (const line of cellsInWords(pool.isolation, settings.workspace)) say(printable(line));
  const end = await endWhenAsked(pool, stop, settings.graceMs, say);
  say(endInWords(end));
  return end.handedBack > 0 ? 130 : 0;
}
