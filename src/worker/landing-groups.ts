/** Finished branches that wait, by their targets: what one lander tries together. Pure. */
import { type LandingJob, landingIdOf, targetMarkOf, trialMarkOf, understoodLanding } from '../job/landing.ts';
import { isUrl } from '../job/repository.ts';

export interface WaitingCandidate {
  /** Of the landing job. */
  id: string;
  data: LandingJob;
}

/** All that wait for one target and are tested in the same way, in their order. */
export interface TargetGroup extends Pick<LandingJob, 'repository' | 'target' | 'land'> {
  /** Names the target; the same on all hosts. */
  mark: string;
  /** Names the target with the way of testing. */
  trial: string;
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
    const { repository, target, land } = data;
    const trial = trialMarkOf(data);
    const way = isUrl(repository) ? 'merge' : land;
    const group = groups.get(trial) ?? { mark: targetMarkOf(data), trial, repository, target, land: way, waiting: [] };
    groups.set(trial, group);
    group.waiting.push({ id, data });
  }
  return { groups: [...groups.values()], nonsense };
}

/**
 * Those of a group that are tried together: the first ones, up to `most`. Of a task only its first commit, since what
 * becomes of that decides about the next.
 */
export function batchOf({ waiting }: Pick<TargetGroup, 'waiting'>, most: number): WaitingCandidate[] {
  const seen = new Set<string>();
  const firsts = waiting.filter(({ data }) => {
    const isNew = !seen.has(data.taskId);
    seen.add(data.taskId);
    return isNew;
  });
  return firsts.slice(0, most);
}
