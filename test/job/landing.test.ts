/** What is to land of a task, and what of it is read again. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  landingIdOf,
  landingOf,
  landingOptions,
  returnsOf,
  taskOfLanding,
  understoodLanding,
} from '../../src/job/landing.ts';
import { taskIdFault } from '../../src/job/names.ts';
import { jobOf, resultOf } from '../support/jobs.ts';

const commit = 'a'.repeat(40);
const committed = { ...resultOf('one', 'committed'), branch: 'cellpool/one', commit };
const merging = jobOf('one', { land: 'merge', test: 'make check', base: 'dev', title: 'One' });

describe('what is to land', () => {
  test('is the commit of a task that asks for it, on its base unless it names another branch', () => {
    expect(landingOf(merging, committed, 7)).toMatchObject({
      ...{ taskId: 'one', commit, branch: 'cellpool/one', target: 'dev', land: 'merge', enqueuedAt: 7, returns: 0 },
    });
    const elsewhere = jobOf('one', { land: 'push', test: 'make check', landOn: 'release' });
    expect(landingOf(elsewhere, committed, 7)).toMatchObject({ target: 'release', land: 'push' });
  });

  test('is nothing without a commit, and nothing of a task that does not ask for it', () => {
    expect(landingOf(jobOf('one', { test: 'x' }), committed, 7)).toBeNull();
    expect(landingOf(jobOf('one', { test: 'x', land: 'none' }), committed, 7)).toBeNull();
    expect(landingOf(merging, resultOf('one', 'no-changes'), 7)).toBeNull();
    expect(landingOf(merging, { ...committed, outcome: 'reverted' }, 7)).toBeNull();
  });

  test('counts how often its task has come back', () => {
    const returned = { times: 2, commit, target: 'dev', tip: commit, why: 'red', message: 'no' } as const;
    expect(landingOf({ ...merging, returned }, committed, 7)?.returns).toBe(2);
  });
});

test('a candidate has one id, and another commit of its task another one; each can be the id of a job', () => {
  expect(landingIdOf({ taskId: 'one', commit })).toBe('one.aaaaaaaaaaaa');
  const ids = fc.stringMatching(/^[a-z0-9]{1,100}$/).filter(id => taskIdFault(id) === null);
  const commits = fc.stringMatching(/^[0-9a-f]{40}$/);
  fc.assert(
    fc.property(ids, commits, (taskId, one) => {
      const id = landingIdOf({ taskId, commit: one });
      expect(id).not.toMatch(/^\d+$|:/);
      expect(id.startsWith(`${taskId}.`)).toBe(true);
      expect(taskOfLanding(id)).toBe(taskId);
    }),
  );
});

test('what is the id of no candidate names no task', () => {
  for (const id of [
    '',
    'one',
    '.aaaaaaaaaaaa',
    'one.aaaaaaaaaaa',
    'one.AAAAAAAAAAAA',
    '../x.aaaaaaaaaaaa',
    '7.aaaaaaaaaaaa',
  ]) {
    expect(taskOfLanding(id)).toBeNull();
  }
});

test('a job that is kept for so many days is kept as landing for as many', () => {
  const job = landingOf(merging, committed, 7);
  if (job === null) throw new Error('nothing is to land');
  expect(landingOptions(job, { jobDays: 2, jobs: 10 })).toMatchObject({
    ...{ jobId: 'one.aaaaaaaaaaaa', attempts: 1, removeOnComplete: { age: 172_800, count: 10 } },
  });
  expect(returnsOf(job)).toBe(2);
  expect(returnsOf({ plan: { ...job.plan, landing: { returns: 0 } } })).toBe(0);
});

describe('what is read', () => {
  test('is what was written, and for anything else the reason', () => {
    const job = landingOf(merging, committed, 7);
    expect(understoodLanding(JSON.parse(JSON.stringify(job)))).toEqual({ data: job, fault: null });
    expect(understoodLanding({ ...job, commit: 'HEAD' })).toEqual({
      data: null,
      fault: '"commit" must be the full id of a commit',
    });
    expect(understoodLanding({ ...job, target: '--force' }).fault).toContain('"target"');
    expect(understoodLanding({ ...job, target: 'cellpool/other' }).fault).toBe(
      '"target" is the branch of a task, on which nothing lands',
    );
  });

  test('never throws, whatever somebody has put there', () => {
    fc.assert(fc.property(fc.anything(), value => void understoodLanding(value)));
  });
});
