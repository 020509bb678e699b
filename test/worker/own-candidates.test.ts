/** Those that wait and are not for this lander stand in nobody's way. */
import { expect, test } from 'vitest';
import { landingIdOf } from '../../src/job/landing.ts';
import { groupsOf, type TargetGroup } from '../../src/worker/landing-groups.ts';
import { OwnCandidates } from '../../src/worker/own-candidates.ts';
import { landingJobOf } from '../support/shown-landings.ts';

const jobs = [landingJobOf('gpu', { labels: ['gpu', 'eu'] }), landingJobOf('a'), landingJobOf('b')];
const [group] = groupsOf(jobs.map(data => ({ id: landingIdOf(data), data }))).groups as [TargetGroup];
const ids = ({ waiting }: TargetGroup) => waiting.map(({ data }) => data.taskId);
const idOf = (taskId: string) => landingIdOf(landingJobOf(taskId));

test('a lander without the labels passes over what asks for them, and says which it lacks', () => {
  const own = new OwnCandidates(['eu']);
  expect(ids(own.among(group, 5))).toEqual(['a', 'b']);
  own.among(group, 9);
  expect(own.whyNone(group.mark)).toMatchObject({
    code: 'NO_LABELS',
    since: 5,
    reason: expect.stringMatching(/gpu, which/),
  });
  expect(own.whyNone('another')).toBeNull();
  expect(ids(new OwnCandidates(['eu', 'gpu']).among(group))).toEqual(['gpu', 'a', 'b']);
});

test('what another host has is looked at again after a minute, what has not ended yet after half a second', () => {
  const own = new OwnCandidates(['eu', 'gpu']);
  own.leave(idOf('a'), 'elsewhere', 0);
  own.leave(idOf('b'), 'open', 0);
  expect(ids(own.among(group, 499))).toEqual(['gpu']);
  expect(ids(own.among(group, 500))).toEqual(['gpu', 'b']);
  expect(ids(own.among(group, 60_000))).toEqual(['gpu', 'a', 'b']);
});
