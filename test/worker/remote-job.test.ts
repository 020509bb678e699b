/** Jobs whose repository is a URL, from pick-up to end, where no cell is made for them. */
import { join } from 'node:path';
import { DelayedError, UnrecoverableError, WaitingError } from 'bullmq';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { openSite } from '../../src/cell/spawner-site.ts';
import { withTrailers } from '../../src/git/commands.ts';
import { openRemote, refresh } from '../../src/git/remote-cache.ts';
import { keepUnpublished } from '../../src/git/unpublished.ts';
import { Control } from '../../src/redis/control.ts';
import { baseOf } from '../../src/worker/base-branch.ts';
import { LACKING } from '../../src/worker/decide.ts';
import { REASONS } from '../../src/worker/held-job.ts';
import { RetryAfter } from '../../src/worker/job-ending.ts';
import { processJob } from '../../src/worker/process-job.ts';
import { type GitServer, startGitServer } from '../support/git-server.ts';
import { jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRemote, type TestRemote, useGitConfig } from '../support/remote.ts';
import { git, tempFolder } from '../support/repository.ts';
import { type JobSetting, jobSetting } from './job-setting.ts';

let redis: TestRedis;
beforeAll(async () => {
  redis = await testRedis();
});
afterAll(() => redis.close());

let remote: TestRemote;
let server: GitServer;
let url: string;
beforeEach(async () => {
  const folder = tempFolder('remote');
  useGitConfig(folder, '');
  remote = makeRemote(folder);
  server = await startGitServer(remote.root);
  url = `${server.address}/app.git`;
});
afterEach(() => vi.unstubAllEnvs());

const NEVER = new AbortController().signal;

/** A job in our hands, and a commit of it that this host's cache has, put down or not. */
async function taken(setting: JobSetting) {
  const { job, token } = await setting.take(jobOf('a', {}, url));
  const source = await openRemote(setting.home, url);
  await refresh(source);
  const trailers = { Task: 'a', Attempt: '1', Tokens: '77', Enqueued: new Date(job.timestamp).toISOString() };
  const base = remote.tip('main');
  const commit = git(source.gitDir, 'commit-tree', `${base}^{tree}`, '-p', base, '-m', withTrailers('Do it', trailers));
  const push = () => git(source.gitDir, 'push', '--quiet', remote.bare, `${commit}:refs/heads/cellpool/a`);
  return { job, token, source, commit, push };
}

test('work that is on the remote counts for the next host: its worker died before it could say so', async () => {
  const setting = await jobSetting(redis);
  const { job, token, source, commit, push } = await taken(setting);
  await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp });
  // The push came through after the worker was gone, which had put the commit down.
  await keepUnpublished(source, 'a', commit);
  push();
  const result = await processJob(setting.context, job, token, NEVER);
  expect(result).toMatchObject({ outcome: 'committed', commit, branch: 'cellpool/a', tokensUsed: 77, attempt: 1 });
  expect(git(source.gitDir, 'for-each-ref', 'refs/cellpool')).toBe('');
});

test('a commit that only the cache has counts for nothing by itself: it is published, under the fence', async () => {
  const setting = await jobSetting(redis);
  const { job, token, source, commit } = await taken(setting);
  await keepUnpublished(source, 'a', commit);
  const result = await processJob(setting.context, job, token, NEVER);
  expect(result).toMatchObject({ outcome: 'committed', commit });
  expect(remote.tip('cellpool/a')).toBe(commit);
  expect(git(source.gitDir, 'for-each-ref', 'refs/cellpool')).toBe('');
});

test('one whose lock is lost publishes nothing', async () => {
  const setting = await jobSetting(redis);
  const { job, source, commit } = await taken(setting);
  await keepUnpublished(source, 'a', commit);
  await expect(processJob(setting.context, job, 'another-token', NEVER)).rejects.toBeInstanceOf(WaitingError);
  expect(git(remote.bare, 'branch', '--list', 'cellpool/*')).toBe('');
});

test('a cancelled task has its kept commit not published', async () => {
  const setting = await jobSetting(redis);
  const { job, token, source, commit } = await taken(setting);
  await keepUnpublished(source, 'a', commit);
  await new Control(setting.redis, { prefix: setting.prefix }).markCancelled('a', job.timestamp);
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
  expect(setting.results).toMatchObject([{ outcome: 'cancelled' }]);
  expect(git(remote.bare, 'branch', '--list', 'cellpool/*')).toBe('');
});

test('a kept commit whose branch somebody else has made ends the task, says where it is, and can be retried', async () => {
  const setting = await jobSetting(redis);
  const { job, token, source, commit } = await taken(setting);
  await keepUnpublished(source, 'a', commit);
  const theirs = remote.push('cellpool/a', { 'b.txt': 'theirs\n' });
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
  expect(setting.results).toMatchObject([{ outcome: 'failed', error: { code: 'BRANCH_TAKEN' } }]);
  expect(remote.tip('cellpool/a')).toBe(theirs);
  expect(git(source.gitDir, 'for-each-ref', '--format=%(objectname)', 'refs/cellpool')).toBe(commit);
});

test.each<[string, string, (setting: JobSetting) => void]>([
  ['does not answer', 'REMOTE_UNREACHABLE', () => server.trouble.set('fetch', 503)],
  ['does not let this host in', 'REMOTE_REFUSED', () => server.users.set('me', 'x')],
])('a task waits, uncounted, while its server %s', async (_, code, prepare) => {
  const setting = await jobSetting(redis);
  prepare(setting);
  const { job, token } = await setting.take(jobOf('a', {}, url));
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
  expect(await setting.dataOf('a')).toMatchObject({ results: [], waits: { code } });
});

test('a task waits too when its server goes away after it was opened, and is not taken for a killer of workers', async () => {
  const setting = await jobSetting(redis);
  const { job, token } = await taken(setting);
  server.trouble.set('fetch', 503);
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(DelayedError);
  expect(await setting.dataOf('a')).toMatchObject({ results: [], waits: { code: 'REMOTE_UNREACHABLE' } });
  // The next attempt looks first for what this one may have left there.
  expect(await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp })).toMatchObject({ unended: 1 });
});

test('nor when it goes away once the attempt has failed for something else', async () => {
  const setting = await jobSetting(redis, { hooks: { onFailure: () => void server.trouble.set('fetch', 503) } });
  const { job, token } = await taken(setting);
  await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp });
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(RetryAfter);
  expect(await setting.context.fence.begin({ taskId: 'a', enqueuedAt: job.timestamp })).toMatchObject({ unended: 1 });
});

test.each<[string, () => string, string]>([
  ['whose address is wrong', () => `${server.address}/nothing.git`, 'NO_SUCH_REMOTE'],
  ['that is no repository we may name', () => 'ext::sh -c id', ''],
])('a task %s is given up at once', async (_, address, code) => {
  const setting = await jobSetting(redis);
  const { job, token } = await setting.take(jobOf('a', {}, address()));
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
  expect(setting.results.map(({ error }) => error?.code)).toEqual(code === '' ? [] : [code]);
});

test('a base branch that the remote does not have gives the task up, in the name of the URL', async () => {
  const setting = await jobSetting(redis);
  const { job, token } = await setting.take(jobOf('a', { base: 'gone' }, url));
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
  expect(setting.results).toMatchObject([
    { error: { code: 'UNKNOWN_BASE', message: expect.stringContaining(`${url} has no branch "gone"`) } },
  ]);
});

test("a branch of the task's name that is not its work gives it up before anything is spent", async () => {
  const setting = await jobSetting(redis);
  remote.push('cellpool/a', { 'b.txt': 'theirs\n' });
  const { job, token } = await setting.take(jobOf('a', {}, url));
  await expect(processJob(setting.context, job, token, NEVER)).rejects.toBeInstanceOf(UnrecoverableError);
  expect(setting.results).toMatchObject([{ error: { code: 'BRANCH_TAKEN' }, tokensUsed: 0 }]);
});

test('a task that begins where another ended sees the branch that another host has published', async () => {
  const setting = await jobSetting(redis);
  const source = await openRemote(setting.home, url);
  await refresh(source);
  remote.push('cellpool/before', { 'b.txt': 'b\n' });
  const data = jobOf('a', { base: 'cellpool/before', dependsOn: ['before'] }, url);
  expect(await baseOf({ context: setting.context, data }, source)).toBe('cellpool/before');
});

test('a worker that makes worktrees leaves the task to others: of a URL there are none', async () => {
  const folder = tempFolder('worktrees');
  const asked = openSite({ repository: url, home: join(folder, 'home'), workspace: 'worktree' });
  await expect(asked).rejects.toMatchObject({
    code: 'NOT_A_REPOSITORY',
    message: expect.stringContaining('named by URL'),
  });
  expect(LACKING).toContain('NOT_A_REPOSITORY');
});

test('a person who cancels a task that waits for its server waits no longer', async () => {
  const setting = await jobSetting(redis);
  server.trouble.set('fetch', 'hang');
  const { job, token } = await setting.take(jobOf('a', {}, url));
  const cancel = new AbortController();
  const ended = processJob(setting.context, job, token, cancel.signal).catch((error: unknown) => error);
  await vi.waitUntil(() => server.hanging.length > 0, { timeout: 30_000 });
  cancel.abort(REASONS.cancelled);
  expect(await ended).toBeInstanceOf(UnrecoverableError);
  expect(setting.results).toMatchObject([{ outcome: 'cancelled' }]);
  // Others may wait for the opening, so it goes on.
  for (const response of server.hanging) response.destroy();
  await expect(setting.context.spawners.of(url)).rejects.toMatchObject({ code: 'REMOTE_UNREACHABLE' });
});
