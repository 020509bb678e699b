/** What cells are worth making ahead: those that the next jobs in line will ask for, then those of the last ones. */

import { markOf } from '../cell/cell-kind.ts';
import { type CellKind, checkAgentKind } from '../cell/spawn-config.ts';
import { lackingLabels } from '../config.ts';
import type { TaskJob } from '../job/job.ts';
import { taskJobSchema } from '../job/job.ts';
import { isTaskBranch } from '../job/names.ts';
import type { TaskQueue } from '../job/queue.ts';

/** A cell of this kind, on this repository. */
export interface Demand {
  repository: string;
  kind: CellKind;
}

/** The same for two only if one cell serves either. */
export const keyOf = ({ repository, kind }: Demand): string => keyWith(repository, markOf(kind));

export const keyWith = (repository: string, mark: string): string => `${repository}\0${mark}`;

/**
 * What the cell of a job will be like; null when nobody else will ask for such a one: of a task that builds on another
 * one's branch, which may not even be there yet.
 */
export function demandOf(data: Pick<TaskJob, 'repository' | 'task' | 'plan'>, base = data.task.base): Demand | null {
  if (isTaskBranch(base)) return null;
  const { model } = data.task;
  const { opencode, allow, python, caches } = data.plan;
  return {
    repository: data.repository,
    kind: checkAgentKind({ branch: base, model, opencode, allow, python, caches }),
  };
}

/** Of the next `most` jobs in line, of those that this worker may take. @throws the error of Redis */
export async function demandsInLine(
  queue: Pick<TaskQueue, 'getWaiting' | 'getPrioritized'>,
  labels: readonly string[],
  most: number,
): Promise<Demand[]> {
  const last = most - 1;
  // Those without a priority are taken first.
  const jobs = [...(await queue.getWaiting(0, last)), ...(await queue.getPrioritized(0, last))];
  return jobs
    .flatMap(job => {
      // Anybody may write to a shared Redis; what it is instead is told when it is taken.
      const { data } = taskJobSchema.safeParse(job?.data);
      return data === undefined || lackingLabels(data.task.labels, labels).length > 0 ? [] : (demandOf(data) ?? []);
    })
    .slice(0, most);
}

/** By key, how many of each are wanted: of `count` in all, first for those in line, then in turn for the last ones. */
export function wantedOf(inLine: readonly Demand[], last: readonly Demand[], count: number): Map<string, Demand[]> {
  const chosen = inLine.slice(0, count);
  for (let turn = 0; chosen.length < count && last.length > 0; turn += 1) {
    const next = last[turn % last.length];
    if (next !== undefined) chosen.push(next);
  }
  const wanted = new Map<string, Demand[]>();
  for (const one of chosen) wanted.set(keyOf(one), [...(wanted.get(keyOf(one)) ?? []), one]);
  return wanted;
}

export interface Plan<T> {
  /** Not wanted any more, or more than are wanted. */
  surplus: T[];
  /** First what is needed first. */
  missing: Demand[];
}

/** What is to be made and what may go, when `there` is there. */
export function planOf<T extends { key: string }>(wanted: ReadonlyMap<string, Demand[]>, there: readonly T[]): Plan<T> {
  const left = new Map([...wanted].map(([key, demands]) => [key, demands.length]));
  const surplus = there.filter(({ key }) => {
    const open = left.get(key) ?? 0;
    left.set(key, open - 1);
    return open <= 0;
  });
  const missing = [...wanted].flatMap(([key, demands]) => demands.slice(0, Math.max(0, left.get(key) ?? 0)));
  return { surplus, missing };
}
