/** What a task may use over all its attempts, those that did not count included. */
import type { TaskJob } from '../job/job.ts';
import type { AttemptResult } from '../job/outcome.ts';

export interface Usage {
  tokens: number;
  executionMs: number;
}

const NONE: Usage = { tokens: 0, executionMs: 0 };

/** What is left of the task's totals; zero or below when they are used up. */
export function leftOf({ task, spent = NONE }: Pick<TaskJob, 'task' | 'spent'>): Usage {
  return {
    tokens: (task.totalTokenBudget ?? task.attempts * task.tokenBudget) - spent.tokens,
    executionMs: (task.totalTimeoutMs ?? task.attempts * task.timeoutMs) - spent.executionMs,
  };
}

/** What was spent once this attempt is added. */
export function spentWith({ spent = NONE }: Pick<TaskJob, 'spent'>, result: AttemptResult): Usage {
  return {
    tokens: spent.tokens + result.tokensUsed,
    executionMs: spent.executionMs + result.metrics.executionMs,
  };
}
