/** `cellpool run`: enqueue, work with a worker of our own, and tell what became of every task. */
import type { Command } from 'commander';
import { findOpencode } from '../cell/opencode-binary.ts';
import { hasUncommittedEdits } from '../git/source.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';
import { openQueue, type TaskQueue } from '../job/queue.ts';
import { createLogger } from '../observe/logger.ts';
import { TaskFollower } from '../producer/follow.ts';
import { type Enqueued, Producer } from '../producer/producer.ts';
import { WorkerPool } from '../worker/worker.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, type StopRequests } from './interrupts.ts';
import { type LiveView, openLiveView } from './live-view.ts';
import { addFlags, WORKER_FLAGS } from './options.ts';
import { endInWords, endWhenAsked } from './stopping.ts';
import { addTaskFlags, readTaskCall, type TaskCall, type TaskFlags } from './task-input.ts';
import { CHANGED, counted, summary } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool run tasks.jsonl --repo . --test "npm test" --model anthropic/claude-sonnet-4-5
  $ cellpool run --id fix-typo --prompt "Fix the typo in README.md" --model openai/gpt-5
  $ bd export | my-filter | cellpool run - --json > outcomes.jsonl

Ends with 0 when every task ended committed or no-changes, 1 when one did not, 2 on bad input, 3 when Redis, git or
opencode is not there, 130 when it was interrupted with tasks left on the queue.

Ctrl-C or SIGTERM: takes no more jobs and gives the running attempts --grace seconds to end; those that have not by
then, or at a second signal, are cancelled and their jobs handed back, uncounted. A third one ends it at once.`;

export function addRunCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('run').description('work through tasks until every one has its outcome');
  addFlags(addTaskFlags(command), WORKER_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, flags: TaskFlags) => exit(await run(file, flags)));
}

export async function run(file: string | undefined, flags: TaskFlags): Promise<number> {
  const call = await readTaskCall(file, flags);
  return interruptible(async stop => {
    const { results, handedBack } = await runCall(call, flags, stop);
    const isUndone = handedBack > 0 || call.tasks.some(({ task }) => !results.has(task.id));
    if (stop.asked.aborted && isUndone) return 130;
    return call.tasks.every(({ task }) => hasGoneWell(results.get(task.id))) ? 0 : 1;
  });
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
  if (await hasUncommittedEdits(source)) {
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
  const { settings, source, tasks, plan } = call;
  const producer = new Producer({ redis: await connected.connection('producer'), prefix: settings.prefix });
  const enqueued = await producer
    .enqueue(tasks, { repository: source.path, plan }, { again: flags.again === true, retryFailed: true })
    .finally(() => producer.close());

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

/** A worker of ours takes what the queue gives it, be it of this call or left there by another. */
async function sayWhatElseIsQueued(queue: TaskQueue, own: readonly Enqueued[], view: LiveView): Promise<void> {
  const counts = await queue.getJobCounts('waiting', 'prioritized', 'delayed');
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const others = all - own.filter(({ state }) => state !== 'active').length;
  if (others <= 0) return;
  view.say(`${counted(others, 'other task')} on the queue: this command works on them too until its own have ended.`);
}

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
  { settings }: TaskCall,
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
  const follower = await TaskFollower.open({
    queue,
    redis,
    prefix: settings.prefix,
    taskIds: open.map(({ taskId }) => taskId),
    onProgress: (taskId, progress) => view.progress(taskId, progress),
    onRetry: (taskId, result) => view.retry(taskId, result),
    onOutcome,
  });
  const pool = await WorkerPool.start({ settings, redis, log: createLogger(settings.logLevel ?? 'warn') });
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
    await follower.lookOnce();
    sayWhatIsLeft(follower.pending.length, view);
    onEnded();
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

/** How often it is looked for attempts of others until one is seen. */
const LOOK_MS = 100;

/**
 * With its last outcome a worker is handed its next job in the same step, so others may be in hand although no more
 * are taken; such an attempt can begin a moment later.
 */
async function drainOthers(pool: WorkerPool, drained: Promise<void>, view: LiveView): Promise<void> {
  const look = () => {
    const others = pool.running.length;
    if (others === 0) return;
    clearInterval(timer);
    view.say(`Waiting for ${counted(others, 'attempt')} of other tasks that this command also took.`);
  };
  const timer = setInterval(look, LOOK_MS);
  look();
  await drained.finally(() => clearInterval(timer));
}
