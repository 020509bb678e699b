/** Tasks for a repository that is named by URL, put on the queue: no cell is needed to see what stands there then. */
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import type { TaskJob } from '../../src/job/job.ts';
import { CliHome } from '../support/cli.ts';
import { type GitServer, startGitServer } from '../support/git-server.ts';
import { makeRemote, type TestRemote } from '../support/remote.ts';
import { type Files, tempFolder } from '../support/repository.ts';

const cli = new CliHome();
afterAll(() => cli.remove());
afterEach(() => vi.unstubAllEnvs());

async function served(files?: Files): Promise<{ remote: TestRemote; server: GitServer; url: string }> {
  const remote = makeRemote(tempFolder('remote'), files);
  const server = await startGitServer(remote.root);
  return { remote, server, url: `${server.address}/app.git` };
}

const task = (id: string, url: string, ...more: string[]) => ['--id', id, '--prompt', 'do it', '--repo', url, ...more];
const jobOf = (id: string) => cli.look(async queue => ((await queue.getJob(id))?.data ?? null) as TaskJob | null);

test('enqueue keeps the URL, and the settings of the file on the base branch', async () => {
  const { remote, url } = await served({ 'cellpool.yaml': 'test: from-main\nsetup: prepare\n' });
  remote.push('dev', { 'cellpool.yaml': 'test: from-dev\n' });
  expect(await cli.run(['enqueue', ...task('on-main', url)])).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await jobOf('on-main')).toMatchObject({
    repository: url,
    task: { test: 'from-main', base: 'main' },
    plan: { setup: 'prepare' },
  });
  expect((await cli.run(['enqueue', ...task('on-dev', url, '--base', 'dev')])).exitCode).toBe(0);
  expect(await jobOf('on-dev')).toMatchObject({ task: { test: 'from-dev', base: 'dev' } });
});

test('a fault in that file is told with its line, and nothing is queued', async () => {
  const { url } = await served({ 'cellpool.yaml': 'test: x\ntset: y\n' });
  const { exitCode, stderr } = await cli.run(['enqueue', ...task('faulty', url)]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining('cellpool.yaml:2: key "tset" is not known')]);
  expect(await jobOf('faulty')).toBeNull();
});

test('a base branch that the remote does not have is refused, as for a folder', async () => {
  const { url } = await served();
  const { exitCode, stderr } = await cli.run(['enqueue', ...task('no-base', url, '--base', 'gone')]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining(`base branch "gone" is not in ${url}`)]);
  expect(await jobOf('no-base')).toBeNull();
});

test('a server that says there is nothing of that name ends it', async () => {
  const { url } = await served();
  const { exitCode, stderr } = await cli.run(['enqueue', ...task('nothing', `${url}x`)]);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining('not found')]);
});

test.each<[string, (server: GitServer) => void]>([
  ['that does not answer', server => server.trouble.set('fetch', 503)],
  ['that does not let us in', server => server.users.set('me', 'x')],
])('a server %s is a remark for enqueue, since workers may reach it, and the end for run', async (_, prepare) => {
  const { server, url } = await served({ 'cellpool.yaml': 'test: not-seen\n' });
  prepare(server);
  const id = `away-${server.users.size}`;
  const enqueued = await cli.run(['enqueue', ...task(id, url)]);
  expect(enqueued.exitCode).toBe(0);
  expect(
    enqueued.stderr.match(/Base branches are not checked, and its cellpool\.yaml counts for nothing/g),
  ).toHaveLength(1);
  expect(await jobOf(id)).toMatchObject({ repository: url });
  expect((await jobOf(id))?.task).not.toHaveProperty('test');

  const run = await cli.run(['run', ...task(`${id}-run`, url)]);
  expect([run.exitCode, run.stdout]).toEqual([3, '']);
  expect(await jobOf(`${id}-run`)).toBeNull();
});

test.each(['enqueue', 'run'])(
  '%s refuses addresses that git may not be given, and repeats no password',
  async command => {
    for (const url of ['https://me:s3cret@example.org/app', 'ext::sh -c id', 'http://example.org/app']) {
      const { exitCode, stdout, stderr } = await cli.run([command, ...task('bad', url)]);
      expect([exitCode, stdout, stderr]).toEqual([2, '', expect.stringContaining('--repo: ')]);
      expect(stderr).not.toContain('s3cret');
    }
  },
);

test('run makes no worktrees of a URL, and beads are not read from one', async () => {
  const { url } = await served();
  const run = await cli.run(['run', ...task('linked', url), '--workspace', 'worktree']);
  expect([run.exitCode, run.stderr]).toEqual([
    2,
    expect.stringContaining('--workspace: may not be worktree for a URL'),
  ]);
  const beads = await cli.run(['beads', '--repo', url]);
  expect([beads.exitCode, beads.stderr]).toEqual([2, expect.stringContaining('--repo: is a URL')]);
});
