/** Where an attempt begins whose task names the branch of one it depends on. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { openSource } from '../../src/git/source.ts';
import type { TaskJob } from '../../src/job/job.ts';
import type { LandingJob } from '../../src/job/landing.ts';
import { baseOf } from '../../src/worker/base-branch.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { commitAll, git, makeRepository, writeFiles } from '../support/repository.ts';
import { addLanding, fateOf, landingJobOf } from '../support/shown-landings.ts';
import { jobSetting } from './job-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

async function setting() {
  const { context, queue, folder } = await jobSetting(server);
  onTestFinished(() => context.landings.close());
  const repository = makeRepository(join(folder, 'repository'));
  const source = await openSource(repository);
  const job = (id: string, base: string, dependsOn: string[] = []) => jobOf(id, { base, dependsOn }, source.path);
  return {
    ...{ repository, job },
    /** A task on the queue that has ended so. */
    ended: (data: TaskJob, outcome: 'committed' | 'no-changes') =>
      addJob(queue, { ...data, results: [resultOf(data.task.id, outcome)] }),
    base: (data: TaskJob) => baseOf({ context, data }, source),
    /** Task `a` has committed, and its branch is not there any more; `merge`: `release` has it. */
    async landed(more: Partial<LandingJob>, merge: boolean) {
      git(repository, 'branch', 'release');
      git(repository, 'switch', '--quiet', '-c', 'cellpool/a');
      writeFiles(repository, { 'a.txt': 'a' });
      const commit = commitAll(repository, 'a');
      git(repository, 'switch', '--quiet', 'release');
      if (merge) git(repository, 'merge', '--quiet', '--no-ff', '-m', 'Land a', 'cellpool/a');
      git(repository, 'switch', '--quiet', 'main');
      git(repository, 'branch', '-D', 'cellpool/a');
      const result = { ...resultOf('a', 'committed'), branch: 'cellpool/a', commit };
      await addJob(queue, { ...job('a', 'main'), results: [result] });
      const of = { repository: source.path, commit, target: 'release' };
      await addLanding(context.landings, landingJobOf('a', { ...of, ...more }));
    },
  };
}

test('is that branch when it is there, and any other base as it was named', async () => {
  const { repository, job, ended, base } = await setting();
  git(repository, 'branch', 'cellpool/a');
  await ended(job('a', 'develop'), 'no-changes');
  expect(await base(job('b', 'cellpool/a', ['a']))).toBe('cellpool/a');
  expect(await base(job('b', 'main', ['a']))).toBe('main');
  expect(await base(job('b', 'cellpool/c'))).toBe('cellpool/c');
});

test('is where the dependency began when that has changed nothing, and so on', async () => {
  const { job, ended, base } = await setting();
  await ended(job('first', 'develop'), 'no-changes');
  await ended(job('second', 'cellpool/first', ['first']), 'no-changes');
  expect(await base(job('third', 'cellpool/second', ['second']))).toBe('develop');
});

test('is left for git to miss when the branch should be there, or belongs elsewhere', async () => {
  const { job, ended, base } = await setting();
  await ended(job('a', 'main'), 'committed');
  await ended({ ...job('other', 'main'), repository: '/other' }, 'no-changes');
  expect(await base(job('b', 'cellpool/a', ['a']))).toBe('cellpool/a');
  expect(await base(job('b', 'cellpool/other', ['other']))).toBe('cellpool/other');
  expect(await base(job('b', 'cellpool/gone', ['gone']))).toBe('cellpool/gone');
});

test('is where a dependency has landed whose branch was removed by that, also before its lander has said so', async () => {
  for (const fate of [fateOf('landed'), undefined]) {
    const { job, landed, base } = await setting();
    await landed(fate === undefined ? {} : { fate }, true);
    expect(await base(job('b', 'cellpool/a', ['a']))).toBe('release');
    expect(await base(job('c', 'cellpool/a'))).toBe('cellpool/a');
  }
});

test('is left for git to miss when the work of a dependency is not in this repository', async () => {
  const { job, landed, base } = await setting();
  await landed({ land: 'push', fate: fateOf('landed') }, false);
  expect(await base(job('b', 'cellpool/a', ['a']))).toBe('cellpool/a');
});

test('a circle that somebody wrote to the queue ends', async () => {
  const { job, ended, base } = await setting();
  await ended(job('x', 'cellpool/y', ['y']), 'no-changes');
  await ended(job('y', 'cellpool/x', ['x']), 'no-changes');
  expect(await base(job('b', 'cellpool/x', ['x']))).toBe('cellpool/x');
});

test('is the target of work that came back, whatever it began at before', async () => {
  const { repository, job, base } = await setting();
  git(repository, 'branch', 'cellpool/a');
  const ids = { commit: 'c'.repeat(40), tip: 'd'.repeat(40) };
  const returned = { times: 1, ...ids, target: 'release', why: 'conflict', message: 'a.txt' } as const;
  expect(await base({ ...job('b', 'cellpool/a', ['a']), returned })).toBe('release');
});
