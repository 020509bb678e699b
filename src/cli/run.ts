/** `cellpool run`: enqueue, work with a worker of our own, and tell what became of every task. */
import type { Command } from 'commander';
import { findOpencode } from '../cell/opencode-binary.ts';
import { hasUncommittedEdits } from '../git/source.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';
import { openQueue } from '../job/queue.ts';
import { createLogger } from '../observe/logger.ts';
import { TaskFollower } from '../producer/follow.ts';
import { type Enqueued, Producer } from '../producer/producer.ts';
import { WorkerPool } from '../worker/worker.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, type StopRequests, whenAborted } from './interrupts.ts';
import { type LiveView, openLiveView } from './live-view.ts';
import { addFlags, WORKER_FLAGS } from './options.ts';
import { addTaskFlags, readTaskCall, type TaskCall, type TaskFlags } from './task-input.ts';
import { summary } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool run tasks.jsonl --repo . --test "npm test" --model anthropic/claude-sonnet-4-5
  $ cellpool run --id fix-typo --prompt "Fix the typo in README.md" --model openai/gpt-5
  $ bd export | my-filter | cellpool run - --json > outcomes.jsonl

Ends with 0 when every task ended committed or no-changes, 1 when one did not, 2 on bad input, 3 when Redis, git or
opencode is not there, 130 when interrupted. Ctrl-C lets the running attempts end; a second one stops them.`;

export function addRunCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('run').description('work through tasks until every one has its outcome');
  addFlags(addTaskFlags(command), WORKER_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, flags: TaskFlags) => exit(await run(file, flags)));
}

export async function run(file: string | undefined, flags: TaskFlags): Promise<number> {
  const call = await readTaskCall(file, flags);
  // Without it every task would fail, and stand on the queue as failed.
  await findOpencode(call.settings.opencodeBin);
  return interruptible(stop => runCall(call, flags, stop));
}

async function runCall(call: TaskCall, flags: TaskFlags, stop: StopRequests): Promise<number> {
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
): Promise<number> {
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

  const open = enqueued.map(({ taskId }) => taskId).filter(id => !results.has(id));
  const interrupted = open.length > 0 && (await workOff(call, open, connected, view, stop, tell));
  view.close();
  if (flags.json !== true) {
    const inOrder = tasks.flatMap(({ task }) => results.get(task.id) ?? []);
    process.stdout.write(`${summary(inOrder)}\n`);
  }
  if (interrupted) return 130;
  return [...results.values()].every(({ outcome }) => endedWell(outcome)) ? 0 : 1;
}

function sayWhatIsKnown(enqueued: readonly Enqueued[], view: LiveView): void {
  for (const { taskId, how, state, changed } of enqueued) {
    if (how === 'joined') view.say(`${taskId} is already ${state === 'active' ? 'running' : 'queued'}: joined.`);
    if (how === 'known') view.say(`${taskId} has ended before: its outcome stands (--again works it anew).`);
    if (changed) view.say(`${taskId} was enqueued with other words or settings than these, and those count.`);
  }
}

/** Works until all tasks have ended; true when a person stopped it before that. */
async function workOff(
  { settings }: TaskCall,
  taskIds: readonly string[],
  connected: Connected,
  view: LiveView,
  stop: StopRequests,
  onOutcome: (taskId: string, result: AttemptResult) => void,
): Promise<boolean> {
  const redis = await connected.connection('worker');
  const queue = openQueue(await connected.connection('producer'), settings.prefix);
  const over = new AbortController();
  const follower = await TaskFollower.open({
    queue,
    redis,
    prefix: settings.prefix,
    taskIds,
    onProgress: (taskId, progress) => view.progress(taskId, progress),
    onRetry: (taskId, result) => view.retry(taskId, result),
    onOutcome,
  });
  const pool = await WorkerPool.start({ settings, redis, log: createLogger(settings.logLevel ?? 'warn') });
  whenAborted(stop.asked, () => {
    view.say(`Letting ${pool.running.length} running attempts end; once more stops them now.`);
    void pool.drain().then(() => over.abort());
  });
  whenAborted(stop.insisted, () => {
    view.say('Stopping the running attempts.');
    void pool.stop();
  });
  try {
    await follower.untilAllEnded(over.signal);
    await pool.drain();
    await follower.lookOnce();
    if (!stop.asked.aborted) return false;
    const left = follower.pending.length;
    if (left > 0) view.say(`${left} tasks are still queued; the same command goes on with them.`);
    return true;
  } finally {
    await pool.stop();
    await follower.close();
    await queue.close();
  }
}
