/**
 * What becomes of a candidate, for good: written into its job before BullMQ hears of it, so that whoever finds the job
 * after its lander died knows what was decided. A task that goes back to the pool does so before that is written.
 */
import type { Redis } from 'ioredis';
import { messageOf } from '../errors.ts';
import { refresh } from '../git/remote-cache.ts';
import { removeBranch } from '../git/remove-branch.ts';
import type { Source } from '../git/source.ts';
import type { Fate } from '../job/fate.ts';
import type { Returned } from '../job/job.ts';
import { type LandingJob, type LandingQueue, returnsOf } from '../job/landing.ts';
import type { JobRetention, TaskQueue } from '../job/queue.ts';
import { endLanding } from '../job/stored-landing.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import type { LandingLine } from '../redis/landing-line.ts';
import type { Tally } from '../redis/tally.ts';
import type { WaitingCandidate } from './landing-groups.ts';
import { returnTask } from './return-task.ts';

export interface FateContext {
  redis: Redis;
  line: LandingLine;
  queue: LandingQueue;
  tasks: TaskQueue;
  tally: Pick<Tally, 'addLanding'>;
  retention: JobRetention;
  redactor: Redactor;
  log: Logger;
  /** Its lock is about to be given up, so nobody is to miss it. */
  letGo(id: string): void;
  /** Told of each. */
  onFate?: ((landing: LandingJob, fate: Fate) => void) | undefined;
}

/** Ended, or to be tried again. */
export type Settled = 'settled' | 'later';

const NOTHING = { commit: null, batch: [], flaky: false };

/** Characters; they go to Redis, into pages and into a prompt; tests print their verdict last. */
const MESSAGE_MAX = 8_000;

/** @throws {CellpoolError} FENCED when the job is not ours any more; the error of Redis */
export async function settle(
  context: FateContext,
  { id, data }: WaitingCandidate,
  token: string,
  fate: Fate,
): Promise<Settled> {
  const told = { ...fate, message: context.redactor.text(fate.message).slice(-MESSAGE_MAX) };
  await context.line.write(id, token, { ...data, fate: told });
  await finish(context, { id, data }, token, told);
  return 'settled';
}

/** Tells BullMQ and everybody else of a fate that is written down. @throws BullMQ's error when the job is not ours */
export async function finish(
  { queue, tally, log, letGo, onFate }: FateContext,
  { id, data }: WaitingCandidate,
  token: string,
  fate: Fate,
): Promise<void> {
  letGo(id);
  await endLanding(queue, id, token, fate);
  await tally.addLanding(fate.kind, id).catch(error => {
    log.warn({ problem: messageOf(error) }, 'the landing could not be counted');
  });
  const { kind, why, commit, message } = fate;
  const facts = { task: data.taskId, target: data.target, fate: kind, why, commit };
  log.info({ ...facts, message: message.slice(-500) }, 'landing ended');
  onFate?.({ ...data, fate }, fate);
}

/** Its target has it. `batch`: those that came with it. */
export async function settleLanded(
  context: FateContext,
  one: WaitingCandidate,
  token: string,
  { source, ...landed }: { source: Source; commit: string; batch: string[]; flaky: boolean; message: string },
): Promise<Settled> {
  const { branch, commit, plan, taskId } = one.data;
  if (plan.landing?.removeBranch === true) {
    const removed = await removeBranch(source, branch, commit).catch(error => messageOf(error));
    if (removed !== true) context.log.warn({ task: taskId, branch, problem: removed }, 'its branch stays');
    // A cache that is behind shows the branch until its next fetch.
    else await refresh(source).catch(error => context.log.debug({ branch, problem: messageOf(error) }, 'not fetched'));
  }
  return settle(context, one, token, { kind: 'landed', ...landed, at: Date.now() });
}

/** It is not tried, or cannot be. */
export function settleExcluded(
  context: FateContext,
  one: WaitingCandidate,
  token: string,
  excluded: Pick<Fate, 'kind' | 'why' | 'message'>,
): Promise<Settled> {
  return settle(context, one, token, { ...excluded, ...NOTHING, at: Date.now() });
}

/**
 * It cannot land as it is: back to the pool as often as its task may come back, then to a person. `message`: the paths in
 * conflict, a line each, or what the tests printed.
 */
export async function settleUnfit(
  context: FateContext,
  one: WaitingCandidate,
  token: string,
  {
    why,
    message,
    flaky,
    ...rest
  }: Pick<Returned, 'why' | 'message' | 'tip' | 'patch' | 'beginsAtTip'> & { flaky: boolean },
): Promise<Settled> {
  const { data } = one;
  const { taskId, commit, target, returns } = data;
  const most = returnsOf(data);
  const ended = { why, commit: null, batch: [], flaky, at: Date.now() };
  const told = why === 'conflict' ? `it contradicts ${target} in ${message.split('\n').join(', ')}` : message;
  const refuse = (reason: string) =>
    settle(context, one, token, { ...ended, kind: 'refused', message: `${told}\n${reason}` });
  if (returns >= most) {
    return refuse(`It has come back ${returns} times, so a person is to look at it; branch ${data.branch} stays.`);
  }
  const { redis, tasks, retention, redactor } = context;
  const { tip, patch, beginsAtTip } = rest;
  const returned: Returned = {
    ...{ times: returns + 1, commit, target, tip, why, message: redactor.text(message) },
    ...(patch === undefined ? {} : { patch: redactor.text(patch) }),
    ...(beginsAtTip === undefined ? {} : { beginsAtTip }),
  };
  const how = await returnTask(redis, tasks, { landing: data, returned, retention });
  if (how === 'later') return 'later';
  if (how === 'forgotten')
    return refuse(`Its task is forgotten, so nobody can work it anew; branch ${data.branch} stays.`);
  if (how === 'superseded') {
    return settleExcluded(context, one, token, { kind: 'refused', why: how, message: superseded(taskId) });
  }
  return settle(context, one, token, { ...ended, kind: 'returned', message: told });
}

export const superseded = (taskId: string) => `task ${taskId} was put on the queue anew, which makes a work of its own`;
