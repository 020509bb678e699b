/** The `onFailure` hook of an attempt whose worker died; what it is stands in the task's job. */

import { runFailureHookOfDead } from '../cell/dead-cell-hook.ts';
import type { HookCallback } from '../cell/hook-facts.ts';
import type { Settings } from '../config.ts';
import type { TaskQueue } from '../job/queue.ts';
import { readJob } from '../job/stored-job.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import { chooseIsolation } from '../os/isolation.ts';
import type { CellRecord } from '../redis/cell-record.ts';

export interface DeadHookOptions {
  settings: Pick<Settings, 'env' | 'isolation'>;
  log: Logger;
  redactor: Redactor;
  callback?: HookCallback | undefined;
}

/** A function that runs the hook in what is left of the cell, if the task has one. It does not throw for the hook. */
export function failureHookOfDead(
  queue: TaskQueue,
  { settings, log, redactor, callback }: DeadHookOptions,
): (record: CellRecord) => Promise<void> {
  return async record => {
    const { taskId: task, attempt, cellId: cell, job } = record;
    if (job === null || task === null) return;
    const named = log.child({ task, attempt, cell });
    const stored = await readJob(queue, task);
    const { level, readable } = settings.isolation;
    const isolation = await chooseIsolation(level, readable);
    const { hooks, hookMs, allow: allowed = [] } = stored?.data?.plan ?? {};
    const fault = await runFailureHookOfDead({
      ...{ record, isolation, allowed, hooks, hookMs, log: named, redactor, callback },
      env: settings.env,
    });
    if (fault !== null) named.warn({ problem: fault }, 'onFailure failed');
  };
}
