/** Those that wait and are not for this lander stand in nobody's way. */
import { expect, test } from 'vitest';
import { landingIdOf } from '../../src/job/landing.ts';
import { OwnCandidates } from '../../src/worker/own-candidates.ts';
import { landingJobOf } from '../support/shown-landings.ts';

const jobs = [landingJobOf('gpu', { labels: ['gpu', 'eu'] }), landingJobOf('a'), landingJobOf('b')];
const group = { waiting: jobs.map(data => ({ id: landingIdOf(data), data })) };
const only = (taskId: string) => ({ waiting: group.waiting.filter(({ data }) => data.taskId === taskId) });
const idOf = (taskId: string) => landingIdOf(landingJobOf(taskId));
const ids = (own: OwnCandidates, now = 0) => own.among(group, now).map(({ data }) => data.taskId);

test('a lander without the labels passes over what asks for them, and says which it lacks', () => {
  const own = new OwnCandidates(['eu']);
  expect(ids(own)).toEqual(['a', 'b']);
  expect(own.whyNone(only('gpu'), 5)).toMatchObject({ code: 'NO_LABELS', reason: expect.stringMatching(/gpu, which/) });
  expect(ids(new OwnCandidates(['eu', 'gpu']))).toEqual(['gpu', 'a', 'b']);
});

test('what another host has is looked at again after a minute', () => {
  const own = new OwnCandidates(['eu', 'gpu']);
  own.leave(idOf('a'), 'elsewhere', 0);
  expect(ids(own, 59_999)).toEqual(['gpu', 'b']);
  expect(ids(own, 60_000)).toEqual(['gpu', 'a', 'b']);
  expect(own.whyNone(only('a'), 5)).toMatchObject({ code: 'ELSEWHERE' });
});

test('what has not ended yet is looked at less and less often, and told when that lasts: then nobody ends it', () => {
  const own = new OwnCandidates([]);
  own.leave(idOf('b'), 'open', 0);
  expect([ids(own, 499), ids(own, 500)]).toEqual([['a'], ['a', 'b']]);
  expect(own.whyNone(only('b'), 400)).toBeNull();
  own.leave(idOf('b'), 'open', 500);
  expect([ids(own, 1_499), ids(own, 1_500)]).toEqual([['a'], ['a', 'b']]);
  expect(own.whyNone(only('b'), 60_000)).toMatchObject({ code: 'TASK_OPEN', since: 0 });
  own.keep(new Set([idOf('a')]));
  expect(ids(own, 0)).toEqual(['a', 'b']);
});
