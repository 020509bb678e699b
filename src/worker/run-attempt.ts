/** Runs the cell of one attempt, and tells everybody who wants to know how it goes. */
import type { AgentSpawner } from '../cell/agent-spawner.ts';
import type { ProviderTrouble } from '../cell/provider-trouble.ts';
import { runCell } from '../cell/run-cell.ts';
import type { SpawnConfig } from '../cell/spawn-config.ts';
import { messageOf } from '../errors.ts';
import { type AttemptResult, endedWell } from '../job/outcome.ts';
import { redactedResult, redactedReturn } from '../job/redacted.ts';
import { attemptPrompt, type Before } from './attempt-prompt.ts';
import { BudgetReport } from './budget-report.ts';
import { LACKING, LACKING_MS } from './decide.ts';
import { type BegunJob, type HeldJob, modelOf } from './held-job.ts';
import { ProgressReport } from './progress-report.ts';
import type { Usage } from './totals.ts';

export interface Attempt extends BegunJob {
  /** The branch it begins at. */
  base: string;
  spawner: AgentSpawner;
  /** What the task may still use; an attempt never gets more than that. */
  left: Usage;
  signal: AbortSignal;
}

/** What fills a disk often goes away again soon, and admission keeps cells away from one that is nearly full. */
const DISK_FULL_MS = 10_000;

/** `waitMs`: how long to leave provider, disk or budget alone, should the job be put back uncounted. */
export async function runAttempt(run: Attempt): Promise<{ result: AttemptResult; waitMs: number }> {
  const { context, job, token, data, attempt, begun, base, spawner, left, signal } = run;
  const { task } = data;
  const report = new ProgressReport(job, context.host, attempt);
  const provider = providerNews(run);
  const budget = new BudgetReport(run);
  const span = context.tracing?.attempt({ task: task.id, attempt, host: context.host });
  context.onBegun(data, base);
  const cell = runCell(spawner, {
    config: {
      ...spawnConfigOf(run),
      branch: base,
      timeoutMs: Math.min(task.timeoutMs, left.executionMs),
      tokenBudget: Math.min(task.tokenBudget, left.tokens),
    },
    prompt: attemptPrompt(task, attempt, beforeOf(run)),
    subject: task.title ?? firstLine(task.prompt),
    signal,
    fence: () => context.fence.permit({ taskId: task.id, number: begun.number, token, lockMs: context.lockMs }),
    hooks: context.hooks,
    onStage: (stage, spawned) => {
      context.onStage(task.id, stage);
      report.stage(stage, spawned?.cell ?? null);
      span?.stage(stage, spawned?.cell.cellId ?? null);
    },
    usedUp: budget.usedUp,
    onUsage: (tokens, costUsd) => {
      report.usage(tokens);
      budget.used(tokens, costUsd);
    },
    onProviderTrouble: provider.trouble,
    onProviderWell: provider.well,
  });
  // The cell alone: what follows may have to wait for Redis, and nothing is left on this host by then.
  context.onCell(cell);
  const result = await cell;
  span?.end(result);
  if (result.error?.code === 'PROVIDER_BUSY') provider.lasts(result.error.message);
  await report.written();
  const [ofProvider, ofBudget] = await Promise.all([provider.waitMs(), budget.ended()]);
  const code = result.error?.code;
  if (code !== undefined && LACKING.has(code)) return { result, waitMs: LACKING_MS };
  return { result, waitMs: code === 'DISK_FULL' ? DISK_FULL_MS : code === 'BUDGET_USED_UP' ? ofBudget : ofProvider };
}

/** Redacted: another worker may have written it, who knew other secrets. */
function beforeOf({ context: { redactor }, data }: Pick<HeldJob, 'context' | 'data'>): Before {
  const last = data.results.at(-1);
  const { returned } = data;
  return {
    // What ended well and is worked all the same is what came back: nothing went wrong in it.
    ...(last === undefined || endedWell(last.outcome) ? {} : { last: redactedResult(last, redactor) }),
    ...(returned === undefined ? {} : { returned: redactedReturn(returned, redactor) }),
  };
}

/** What of a job the configuration of its cell depends on. */
type JobToSpawn = Pick<HeldJob, 'token' | 'data' | 'attempt'> & { job: Pick<HeldJob['job'], 'timestamp'> };

/** What a cell of this job is spawned with. */
export function spawnConfigOf({ job, token, data, attempt }: JobToSpawn): SpawnConfig {
  const { task, plan } = data;
  const { test, title, model, agent, timeoutMs, tokenBudget, costBudgetUsd, stallMs, loopRepeats } = task;
  return {
    agentId: task.id,
    taskId: task.id,
    branch: task.base,
    timeoutMs,
    tokenBudget,
    attempt,
    author: plan.author,
    opencode: plan.opencode,
    limits: { setupMs: plan.setupMs, testMs: plan.testMs },
    job: { token, enqueuedAt: job.timestamp },
    ...defined({ test, title, model, agent, costBudgetUsd, stallMs, loopRepeats }),
    ...defined({ setup: plan.setup, hooks: plan.hooks, hookMs: plan.hookMs, allow: plan.allow }),
    ...defined({ python: plan.python, caches: plan.caches }),
    ...(data.returned?.beginsAtTip === true ? { commit: data.returned.tip } : {}),
  };
}

/** Carries what a cell sees of its provider to all workers, in the order in which it was seen. */
function providerNews({ context, data }: HeldJob) {
  const model = modelOf(data);
  let waitMs = 0;
  let retryAfterMs = 0;
  let last: Promise<void> = Promise.resolve();
  const then = (news: () => Promise<void>) => {
    last = last.then(news).catch(error => {
      context.log.warn({ model, problem: messageOf(error) }, 'the cool-down could not be told');
    });
  };
  return {
    /** A busy provider that the session still waits for is a hiccup: only what lasts widens the cool-down. */
    trouble(trouble: ProviderTrouble) {
      const isHiccup = trouble.kind === 'busy';
      // All workers read it, and some providers repeat the key they refuse.
      const reason = context.redactor.text(trouble.reason);
      if (trouble.kind === 'busy') retryAfterMs = trouble.retryAfterMs;
      else context.onRefused(model.split('/')[0] ?? model, reason);
      then(async () => {
        waitMs = (await context.cooldowns.report(model, { ...trouble, reason, isHiccup })).waitMs;
      });
    },
    /** The session was given up for it. */
    lasts(reason: string) {
      then(async () => {
        waitMs = (await context.cooldowns.report(model, { kind: 'busy', retryAfterMs, reason })).waitMs;
      });
    },
    well() {
      then(async () => {
        waitMs = 0;
        await context.cooldowns.clear(model);
      });
    },
    waitMs: () => last.then(() => waitMs),
  };
}

/** A commit's first line; git shows about this much of it. */
function firstLine(prompt: string): string {
  const line = prompt.trim().split('\n')[0] ?? '';
  return line.length > 72 ? `${line.slice(0, 71)}…` : line;
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
