/** Works off the tasks of a `cellpool run` with a worker of our own. */
import type { CellpoolError } from '../errors.ts';
import { openLandingQueue } from '../job/landing.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { openQueue } from '../job/queue.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { within } from '../os/within.ts';
import { TaskFollower } from '../producer/follow.ts';
import type { Enqueued } from '../producer/producer.ts';
import { WorkerPool } from '../worker/worker.ts';
import type { Connected } from './connected.ts';
import { HeldUp } from './held-up.ts';
import type { StopRequests } from './interrupts.ts';
import type { LiveView } from './live-view.ts';
import { drainOthers, sayWhatElseIsQueued } from './others.ts';
import { endInWords, endWhenAsked } from './stopping.ts';
import type { TaskCall } from './task-input.ts';
import { cellsInWords } from './words.ts';

/** For the last look at what has ended, in milliseconds. */
const LAST_LOOK_MS = 2_000;

export interface Told {
  onOutcome: (taskId: string, result: AttemptResult) => void;
  /** All tasks have ended, or a person has stopped the work on them. Called once. */
  onEnded: () => void;
}

/**
 * Works until all tasks have ended or a person stops it, and until what was begun has come to its end. Returns how
 * many attempts were handed back.
 */
export async function workOff(
  { settings, tasks }: TaskCall,
  open: readonly Enqueued[],
  connected: Connected,
  view: LiveView,
  stop: StopRequests,
  { onOutcome, onEnded }: Told,
): Promise<number> {
  // One that is known has ended, and waits for its landing.
  const queued = open.filter(({ how }) => how !== 'known');
  // Putting many tasks on the queue takes a while; whoever has stopped that wants no cell to start.
  if (stop.asked.aborted) {
    sayWhatIsLeft(queued.length, view);
    onEnded();
    return 0;
  }
  const redis = await connected.connection('worker');
  const asking = await connected.connection('producer');
  const queue = openQueue(asking, settings.prefix);
  const landings = openLandingQueue(asking, settings.prefix);
  await sayWhatElseIsQueued(queue, queued, view);
  const over = new AbortController();
  const heldUp = new HeldUp(
    tasks.map(({ task }) => task),
    settings.opencode.model,
    message => view.say(message),
  );
  const giveUpWhenHopeless = () => {
    // A landing that waits for a person is no reason to go on either.
    hopeless ??= heldUp.hopeless(follower.pending.filter(id => !follower.held.has(id)));
    if (hopeless !== null) over.abort();
  };
  let hopeless: CellpoolError | null = null;
  const follower = await TaskFollower.open({
    queue,
    redis,
    prefix: settings.prefix,
    taskIds: open.map(({ taskId }) => taskId),
    landing: { queue: landings, redis: asking },
    onProgress: (taskId, progress) => view.progress(taskId, progress),
    onRetry: (taskId, result) => view.retry(taskId, result),
    onWait: (taskId, reason) => {
      heldUp.waits(taskId, reason);
      giveUpWhenHopeless();
    },
    onLanding: (taskId, news) => view.landing(taskId, news),
    onOutcome: (taskId, result) => {
      onOutcome(taskId, result);
      giveUpWhenHopeless();
    },
  });
  const redactor = new Redactor(secretsOfWorker(settings));
  const pool = await WorkerPool.start({
    settings,
    redis,
    tracing: await connected.tracing(),
    log: createLogger(settings.logLevel ?? 'warn', redactor),
    redactor,
    onRefused: (provider, reason) => heldUp.refused(provider, reason),
    onHeld: why => heldUp.held(why),
  }).catch(async error => {
    await follower.close();
    await Promise.all([queue.close(), landings.close()]);
    throw error;
  });
  for (const line of cellsInWords(pool.isolation, settings.workspace)) view.say(line);
  void endWhenAsked(pool, stop, settings.graceMs, message => view.say(message)).then(
    end => {
      if (end.ended + end.handedBack > 0) view.say(endInWords(end));
      over.abort();
    },
    (error: unknown) => over.abort(error),
  );
  try {
    await follower.untilAllEnded(over.signal);
    const drained = pool.drain();
    if (follower.pending.length === 0) {
      onEnded();
      await drainOthers(pool, drained, view);
      return pool.handedBack;
    }
    await drained;
    // A Redis that is connected and says nothing would be waited for without end.
    await within(LAST_LOOK_MS, undefined, () => follower.lookOnce()).catch(() => undefined);
    follower.leaveLandings();
    sayWhatIsLeft(follower.pending.length, view);
    onEnded();
    if (hopeless !== null) throw hopeless;
    return pool.handedBack;
  } finally {
    await pool.stop();
    await follower.close();
    await Promise.all([queue.close(), landings.close()]);
  }
}

function sayWhatIsLeft(left: number, view: LiveView): void {
  if (left > 0) view.say(`${left} tasks are still queued; the same command goes on with them.`);
}
