/** What is tried together. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LandingJob, landingIdOf } from '../../src/job/landing.ts';
import { batchOf, groupsOf } from '../../src/worker/landing-groups.ts';
import { landingJobOf } from '../support/shown-landings.ts';

const waiting = (...jobs: LandingJob[]) => jobs.map(data => ({ id: landingIdOf(data), data }));
const marks = (...jobs: LandingJob[]) => groupsOf(waiting(...jobs)).groups.map(({ mark }) => mark);

describe('groups', () => {
  test('are those of one repository, target and way, in the order of the line', () => {
    const jobs = [
      landingJobOf('a'),
      landingJobOf('b', { target: 'dev' }),
      landingJobOf('c'),
      landingJobOf('d', { land: 'push' }),
      landingJobOf('e', { repository: '/other' }),
    ];
    const { groups, nonsense } = groupsOf(waiting(...jobs));
    expect(groups.map(one => one.waiting.map(({ data }) => data.taskId))).toEqual([['a', 'c'], ['b'], ['d'], ['e']]);
    expect(nonsense).toEqual([]);
  });

  test('know no difference between the ways to land in a repository that is its own remote', () => {
    const repository = 'https://example.org/app.git';
    expect(marks(landingJobOf('a', { repository }), landingJobOf('b', { repository, land: 'push' }))).toHaveLength(1);
  });

  test('tell remotes of one repository apart', () => {
    const { plan } = landingJobOf('a');
    const fork = { plan: { ...plan, landing: { remote: 'fork' } }, land: 'push' as const };
    expect(marks(landingJobOf('a', { land: 'push' }), landingJobOf('b', fork))).toHaveLength(2);
  });

  test('leave out what is no landing job, or one under an id that is not its own', () => {
    const strange = [
      { id: 'x', data: undefined },
      { id: 'y', data: landingJobOf('a') },
    ];
    const { groups, nonsense } = groupsOf(strange);
    expect(groups).toEqual([]);
    expect(nonsense.map(({ id }) => id)).toEqual(['x', 'y']);
    fc.assert(fc.property(fc.anything(), data => groupsOf([{ id: 'x', data }]).nonsense.length === 1));
  });
});

describe('a group', () => {
  const trials = (...jobs: LandingJob[]) =>
    groupsOf(waiting(...jobs)).groups.map(one => one.waiting.map(({ data }) => data.taskId));

  test('has only what is tested in the same way: what is red by one command may be green by another', () => {
    const { plan } = landingJobOf('a');
    const others = [
      landingJobOf('b', { test: 'make other' }),
      landingJobOf('c', { plan: { ...plan, setup: 'make deps' } }),
      landingJobOf('d', { labels: ['gpu'] }),
      landingJobOf('e'),
    ];
    expect(trials(landingJobOf('a'), ...others)).toEqual([['a', 'e'], ['b'], ['c'], ['d']]);
    expect(new Set(marks(landingJobOf('a'), ...others)).size).toBe(1);
  });
});

describe('a batch', () => {
  const groupOf = (...jobs: LandingJob[]) => groupsOf(waiting(...jobs)).groups[0] ?? expect.fail('there is no group');
  const ids = (most: number, ...jobs: LandingJob[]) => batchOf(groupOf(...jobs), most).map(({ data }) => data.taskId);

  test('has no more than it may, and begins with the one that waits longest', () => {
    expect(ids(2, landingJobOf('a'), landingJobOf('b'), landingJobOf('c'))).toEqual(['a', 'b']);
  });

  test('has one commit of a task: what becomes of it decides about the next', () => {
    const later = landingJobOf('a', { commit: 'b'.repeat(40) });
    expect(ids(5, landingJobOf('a'), later, landingJobOf('b'))).toEqual(['a', 'b']);
  });
});
