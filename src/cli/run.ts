/** `cellpool run`: enqueue, work with a worker of our own, and tell what became of every task. */
import { findOpencode } from '../cell/opencode-binary.ts';
import { type CellpoolError, InvalidInput } from '../errors.ts';
import { hasUncommittedEdits } from '../git/source.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';
import { openQueue } from '../job/queue.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { chooseIsolation } from '../os/isolation.ts';
import { within } from '../os/within.ts';
import { TaskFollower } from '../producer/follow.ts';
import { type Enqueued, Producer } from '../producer/producer.ts';
import { retryTasks } from '../producer/retry.ts';
import { WorkerPool } from '../worker/worker.ts';
import { type Connected, withRedis } from './connected.ts';
import { HeldUp } from './held-up.ts';
import { interruptible, type StopRequests } from './interrupts.ts';
import { type LiveView, openLiveView } from './live-view.ts';
import { drainOthers, sayWhatElseIsQueued } from './others.ts';
import { sayUnserved } from './say-unserved.ts';
import { endInWords, endWhenAsked } from './stopping.ts';
import type { TaskFlags } from './task-flags.ts';
import { readTaskCall, type TaskCall } from './task-input.ts';
import { CHANGED, cellsInWords, summary } from './words.ts';

export async function run(file: string | undefined, flags: TaskFlags): Promise<number> {
  const call = await readTaskCall(file, flags, true);
  refuseWorktreesOf(call);
  return interruptible(async stop => {
    const { results, handedBack } = await runCall(call, flags, stop);
    const isUndone = handedBack > 0 || call.tasks.some(({ task }) => !results.has(task.id));
    if (stop.asked.aborted && isUndone) return 130;
    return call.tasks.every(({ task }) => hasGoneWell(results.get(task.id))) ? 0 : 1;
  });
}

function refuseWorktreesOf({ source, settings }: TaskCall): void {
  if (source !== null || settings.workspace !== 'worktree') return;
  throw new InvalidInput([
    { where: '--workspace', what: 'may not be worktree for a URL: there is no repository here' },
  ]);
}

/** The outcomes there are in the end, by task id; a task that has none was still queued when a person stopped. */
export type Results = ReadonlyMap<string, AttemptResult>;

export interface RunEnd {
  results: Results;
  /** Attempts, also those of other tasks, that were cancelled because a person stopped the command. */
  handedBack: number;
}

function hasGoneWell(result: AttemptResult | undefined): boolean {
  return result !== undefined && endedWell(result.outcome);
}

export async function runCall(call: TaskCall, flags: TaskFlags, stop: StopRequests): Promise<RunEnd> {
  // Without it every task would fail, and stand on the queue as failed.
  await findOpencode(call.settings.opencodeBin);
  const { level, readable } = call.settings.isolation;
  await chooseIsolation(level, readable);
  const terminal = process.stdout.isTTY === true && process.stderr.isTTY === true && flags.json !== true;
  const view = openLiveView(call.tasks.length, terminal);
  try {
    await sayWhatIsLeftOut(call, view);
    return await withRedis(
      call.settings,
      message => view.say(message),
      connected => work(call, flags, connected, view, stop),
      stop.asked,
    );
  } finally {
    view.close();
  }
}

async function sayWhatIsLeftOut({ source, tasks }: TaskCall, view: LiveView): Promise<void> {
  if (source !== null && (await hasUncommittedEdits(source))) {
    view.say(`${source.path} has uncommitted edits: they are not part of the work's base, and stay as they are.`);
  }
  const untested = tasks.filter(({ task }) => task.test === undefined).length;
  if (untested > 0)
    view.say(`${untested} of ${tasks.length} tasks have no test command: what they commit is untested.`);
}

async function work(
  call: TaskCall,
  flags: TaskFlags,
  connected: Connected,
  view: LiveView,
  stop: StopRequests,
): Promise<RunEnd> {
  const { settings, repository, tasks, plan } = call;
  const { prefix, retention } = settings;
  const [redis, tracing] = [await connected.connection('producer'), await connected.tracing()];
  const producer = new Producer({ redis, prefix, retention, tracing });
  const enqueued = await producer
    .enqueue(tasks, { repository, plan }, { again: flags.again === true, retryFailed: true })
    .finally(() => producer.close());
  await sayUnserved({ redis, prefix, tasks, enqueued, own: settings.labels }, message => view.say(message));

  const results = new Map<string, AttemptResult>();
  const tell = (taskId: string, result: AttemptResult) => {
    results.set(taskId, result);
    view.outcome(taskId, result);
    if (flags.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
  };
  sayWhatIsKnown(enqueued, view);
  for (const { taskId, how, result } of enqueued) if (how === 'known' && result !== null) tell(taskId, result);

  const summarize = () => {
    view.close();
    if (flags.json === true) return;
    const inOrder = tasks.flatMap(({ task }) => results.get(task.id) ?? []);
    process.stdout.write(`${summary(inOrder, tasks.length - inOrder.length)}\n`);
  };
  const open = enqueued.filter(({ taskId }) => !results.has(taskId));
  const delayed = open.filter(({ state }) => state === 'delayed').map(({ taskId }) => taskId);
  // What they wait for may have been put right by the one who asks for them now.
  if (delayed.length > 0) await retryTasks({ redis, prefix }, delayed);
  if (open.length > 0) {
    const handedBack = await workOff(call, open, connected, view, stop, { onOutcome: tell, onEnded: summarize });
    return { results, handedBack };
  }
  summarize();
  return { results, handedBack: 0 };
}

function sayWhatIsKnown(enqueued: readonly Enqueued[], view: LiveView): void {
  for (const { taskId, how, state, changed } of enqueued) {
    if (how === 'joined') view.say(`${taskId} is already ${state === 'active' ? 'running' : 'queued'}: joined.`);
    if (how === 'known') view.say(`${taskId} has ended before: its outcome stands (--again works it anew).`);
    if (changed) view.say(`${taskId} ${CHANGED}`);
  }
}

/** For the last look at what has ended, in milliseconds. */
const LAST_LOOK_MS = 2_000;

interface Told {
  onOutcome: (taskId: string, result: AttemptResult) => void;
  /** All tasks have ended, or a person has stopped the work on them. Called once. */
  onEnded: () => void;
}

/**
 * Works until all tasks have ended or a person stops it, and until what was begun has come to its end. Returns how
 * many attempts were handed back.
 */
async function workOff(
  { settings, tasks }: TaskCall,
  open: readonly Enqueued[],
  connected: Connected,
  view: LiveView,
  stop: StopRequests,
  { onOutcome, onEnded }: Told,
): Promise<number> {
  // Putting many tasks on the queue takes a while; whoever has stopped that wants no cell to start.
  if (stop.asked.aborted) {
    sayWhatIsLeft(open.length, view);
    onEnded();
    return 0;
  }
  const redis = await connected.connection('worker');
  const queue = openQueue(await connected.connection('producer'), settings.prefix);
  await sayWhatElseIsQueued(queue, open, view);
  const over = new AbortController();
  const heldUp = new HeldUp(
    tasks.map(({ task }) => task),
    settings.opencode.model,
    message => view.say(message),
  );
  const giveUpWhenHopeless = () => {
    hopeless ??= heldUp.hopeless(follower.pending);
    if (hopeless !== null) over.abort();
  };
  let hopeless: CellpoolError | null = null;
  const follower = await TaskFollower.open({
    queue,
    redis,
    prefix: settings.prefix,
    taskIds: open.map(({ taskId }) => taskId),
    onProgress: (taskId, progress) => view.progress(taskId, progress),
    onRetry: (taskId, result) => view.retry(taskId, result),
    onWait: (taskId, reason) => {
      heldUp.waits(taskId, reason);
      giveUpWhenHopeless();
    },
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
    await queue.close();
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
    sayWhatIsLeft(follower.pending.length, view);
    onEnded();
    if (hopeless !== null) throw hopeless;
    return pool.handedBack;
  } finally {
    await pool.stop();
    await follower.close();
    await queue.close();
  }
}

function sayWhatIsLeft(left: number, view: LiveView): void {
  if (left > 0) view.say(`${left} tasks are still queued; the same command goes on with them.`);
}
