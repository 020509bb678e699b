/** `cellpool run`: enqueue, work with a worker of our own, and tell what became of every task. */
import { findOpencode } from '../cell/opencode-binary.ts';
import { InvalidInput } from '../errors.ts';
import { hasUncommittedEdits } from '../git/source.ts';
import { openLandingQueue } from '../job/landing.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';
import { openQueue } from '../job/queue.ts';
import { readJob } from '../job/stored-job.ts';
import { chooseIsolation } from '../os/isolation.ts';
import { landingStand } from '../producer/landing-stand.ts';
import { type Enqueued, Producer } from '../producer/producer.ts';
import { retryTasks } from '../producer/retry.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, type StopRequests } from './interrupts.ts';
import { checkedOutTargets } from './landing-words.ts';
import { type LiveView, openLiveView } from './live-view.ts';
import { sayUnserved } from './say-unserved.ts';
import type { TaskFlags } from './task-flags.ts';
import { readTaskCall, type TaskCall } from './task-input.ts';
import { CHANGED, summary } from './words.ts';
import { workOff } from './work-off.ts';

export async function run(file: string | undefined, flags: TaskFlags): Promise<number> {
  const call = await readTaskCall(file, flags, true);
  refuseWorktreesOf(call);
  return interruptible(async stop => {
    const { results, handedBack } = await runCall(call, flags, stop);
    const isLeft = (result: AttemptResult | undefined) => result === undefined || result.landing?.state === 'waiting';
    const isUndone = handedBack > 0 || call.tasks.some(({ task }) => isLeft(results.get(task.id)));
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
  if (result === undefined || !endedWell(result.outcome)) return false;
  return result.landing === undefined || result.landing.state === 'landed';
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
  if (source === null) return;
  const lines = await checkedOutTargets(
    source,
    tasks.map(({ task }) => task),
  );
  for (const line of lines) view.say(line);
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
  for (const [taskId, result] of await endedBefore(connected, prefix, enqueued)) tell(taskId, result);

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

/** The results of tasks that have come to their end before; one that waits for its landing has not. */
async function endedBefore(
  connected: Connected,
  prefix: string,
  enqueued: readonly Enqueued[],
): Promise<[taskId: string, result: AttemptResult][]> {
  const redis = await connected.connection('producer');
  const [landings, queue] = [openLandingQueue(redis, prefix), openQueue(redis, prefix)];
  try {
    const ended: [string, AttemptResult][] = [];
    for (const { taskId, how, result } of enqueued) {
      if (how !== 'known' || result === null) continue;
      // Whether it changed nothing, or nothing more since its work came back.
      const stored = result.outcome === 'committed' ? null : await readJob(queue, taskId);
      const stand = await landingStand(redis, landings, result, stored?.data?.returned);
      if ('told' in stand) ended.push([taskId, stand.told]);
    }
    return ended;
  } finally {
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await Promise.all([landings.close(), queue.close()]).catch(() => undefined);
  }
}

function sayWhatIsKnown(enqueued: readonly Enqueued[], view: LiveView): void {
  for (const { taskId, how, state, changed } of enqueued) {
    if (how === 'joined') view.say(`${taskId} is already ${state === 'active' ? 'running' : 'queued'}: joined.`);
    if (how === 'known') view.say(`${taskId} has ended before: its outcome stands (--again works it anew).`);
    if (changed) view.say(`${taskId} ${CHANGED}`);
  }
}
