/** Finished branches that wait, by their targets: what one lander tries together. Pure. */
import { createHash } from 'node:crypto';
import { type LandingJob, landingIdOf, understoodLanding } from '../job/landing.ts';
import { isUrl } from '../job/repository.ts';

export interface WaitingCandidate {
  /** Of the landing job. */
  id: string;
  data: LandingJob;
}

/** All that wait for one target, in their order. */
export interface TargetGroup extends Pick<LandingJob, 'repository' | 'target' | 'land'> {
  /** Names the target; the same on all hosts. */
  mark: string;
  /** The remote that `push` goes to, as far as somebody has named it; else null. */
  remote: string | null;
  waiting: WaitingCandidate[];
}

/** `nonsense`: ids of jobs that are none of ours, with the reason. */
export function groupsOf(jobs: readonly { id: string; data: unknown }[]): {
  groups: TargetGroup[];
  nonsense: { id: string; fault: string }[];
} {
  const groups = new Map<string, TargetGroup>();
  const nonsense: { id: string; fault: string }[] = [];
  for (const { id, data: value } of jobs) {
    const { data, fault } = understoodLanding(value);
    if (data === null || landingIdOf(data) !== id) {
      nonsense.push({ id, fault: fault ?? 'is the landing of another commit' });
      continue;
    }
    const target = targetOf(data);
    const group = groups.get(target.mark) ?? { ...target, waiting: [] };
    groups.set(target.mark, group);
    group.waiting.push({ id, data });
  }
  return { groups: [...groups.values()], nonsense };
}

function targetOf({ repository, target, land: asked, plan }: LandingJob): Omit<TargetGroup, 'waiting'> {
  // A repository that is named by URL is its own remote, so both ways lead to the same branch.
  const land = isUrl(repository) ? 'merge' : asked;
  const remote = land === 'push' ? (plan.landing?.remote ?? null) : null;
  const mark = createHash('sha256')
    .update(JSON.stringify([repository, land, remote, target]))
    .digest('hex')
    .slice(0, 24);
  return { mark, repository, target, land, remote };
}

/**
 * Those of a group that are tried together: the first one and others, up to `most`, that are tested in the same way.
 * Of a task only its first commit, since what becomes of that decides about the next.
 */
export function batchOf({ waiting }: TargetGroup, most: number): WaitingCandidate[] {
  const [head] = waiting;
  if (head === undefined) return [];
  const way = wayOf(head.data);
  const seen = new Set<string>();
  const alike = waiting.filter(({ data }) => {
    const isNew = !seen.has(data.taskId);
    seen.add(data.taskId);
    return isNew && wayOf(data) === way;
  });
  return alike.slice(0, most);
}

function wayOf({ test, labels = [], plan }: LandingJob): string {
  const { setup, setupMs, testMs, allow, python, caches, author } = plan;
  return JSON.stringify([test, labels, setup, setupMs, testMs, allow, python, caches, author]);
}
