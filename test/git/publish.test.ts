/** A finished commit on its way into a remote: moved there by compare-and-swap, or kept and told of. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { withTrailers } from '../../src/git/commands.ts';
import { type BranchMove, ownBranch, publish } from '../../src/git/publish.ts';
import { openRemote, refresh } from '../../src/git/remote-cache.ts';
import type { Source } from '../../src/git/source.ts';
import { unpublishedWork } from '../../src/git/unpublished.ts';
import { type GitServer, startGitServer } from '../support/git-server.ts';
import { helperOf, localSsh, makeRemote, plainGit, type TestRemote, useGitConfig } from '../support/remote.ts';
import { git, refsOf, tempFolder } from '../support/repository.ts';

const BRANCH = 'cellpool/fix-1';
const ENQUEUED_AT = Date.parse('2026-11-22T19:03:11.123Z');
const TASK = { taskId: 'fix-1', enqueuedAt: ENQUEUED_AT };

let folder: string;
let remote: TestRemote;
let server: GitServer;
let url: string;
beforeEach(async () => {
  folder = tempFolder('publish');
  useGitConfig(folder, '');
  remote = makeRemote(folder);
  server = await startGitServer(remote.root);
  url = `${server.address}/app.git`;
});
afterEach(() => vi.unstubAllEnvs());

const messageOf = (more: Record<string, string> = {}) =>
  withTrailers('Fix it', { Task: 'fix-1', Attempt: '1', Enqueued: new Date(ENQUEUED_AT).toISOString(), ...more });

/** The cache of a host, as it is when an attempt begins. */
async function host(name = 'home', address = url): Promise<Source> {
  const source = await openRemote(join(folder, name), address);
  await refresh(source);
  return source;
}

/** A commit on top of `parent` that the cache has, as settling brings it there. */
function commitIn({ gitDir }: Source, parent = remote.tip('main'), message = messageOf()): string {
  return git(gitDir, 'commit-tree', `${parent}^{tree}`, '-p', parent, '-m', message);
}

const moveOf = (commit: string, more: Partial<BranchMove> = {}): BranchMove => ({
  ...{ commit, branch: BRANCH, expectedOld: null, keepAs: 'fix-1' },
  ...more,
});

async function refused(work: Promise<unknown>): Promise<CellpoolError> {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof CellpoolError) return error;
  throw error ?? new Error('it was not refused');
}

const keptIn = ({ gitDir }: Source) =>
  git(gitDir, 'for-each-ref', '--format=%(objectname)', 'refs/cellpool/unpublished');

describe.each(['http', 'file', 'ssh'])('a commit, over %s,', transport => {
  const address = () =>
    transport === 'http' ? url : transport === 'file' ? remote.url : `git@example.org:${remote.bare}`;
  beforeEach(() => {
    if (transport === 'ssh') vi.stubEnv('GIT_SSH_COMMAND', localSsh(folder));
  });

  test('makes the branch of its task, and nothing else is pushed', async () => {
    const source = await host('home', address());
    git(source.gitDir, 'tag', 'v1', remote.tip('main'));
    useGitConfig(folder, '[push]\n\tfollowTags = true\n\tgpgSign = true\n\tdefault = matching\n');
    const commit = commitIn(source);
    const before = refsOf(remote.bare);
    expect(await publish(source, address(), moveOf(commit))).toBeNull();
    expect(refsOf(remote.bare).split('\n')).toEqual([`refs/heads/${BRANCH} ${commit}`, ...before.split('\n')]);
    expect(keptIn(source)).toBe('');
  });

  test('takes the place of earlier work of the same task, which stays in the cache', async () => {
    const first = await host('one', address());
    const earlier = commitIn(first, remote.tip('main'), messageOf({ Attempt: '7' }));
    await publish(first, address(), moveOf(earlier));
    const source = await host('two', address());
    expect(await ownBranch(source, BRANCH, 'fix-1')).toBe(earlier);
    const commit = commitIn(source);
    const replaced = await publish(source, address(), moveOf(commit, { expectedOld: earlier }));
    expect(replaced).toBe(`refs/cellpool/replaced/fix-1/${earlier.slice(0, 12)}`);
    expect(git(source.gitDir, 'rev-parse', String(replaced))).toBe(earlier);
    expect(remote.tip(BRANCH)).toBe(commit);
  });

  test('never overwrites a branch that somebody made meanwhile, and is kept', async () => {
    const source = await host('home', address());
    const commit = commitIn(source);
    const theirs = remote.push(BRANCH, { 'b.txt': 'theirs\n' });
    const taken = await refused(publish(source, address(), moveOf(commit)));
    expect(taken).toMatchObject({ code: 'BRANCH_TAKEN', retryable: false });
    expect(taken.message).toContain(`was expected to be absent, but is ${theirs}`);
    expect(taken.message).toContain(`kept in ${source.path} as refs/cellpool/unpublished/fix-1/${commit.slice(0, 12)}`);
    expect(remote.tip(BRANCH)).toBe(theirs);
    expect(keptIn(source)).toBe(commit);
  });

  test('never overwrites what somebody built on the work of the task', async () => {
    const source = await host('home', address());
    const earlier = commitIn(source);
    await publish(source, address(), moveOf(earlier));
    const theirs = remote.push(BRANCH, { 'b.txt': 'by hand\n' });
    const next = commitIn(source, remote.tip('main'), messageOf({ Attempt: '2' }));
    const moved = await refused(publish(source, address(), moveOf(next, { expectedOld: earlier })));
    expect(moved.code).toBe('BRANCH_TAKEN');
    expect(remote.tip(BRANCH)).toBe(theirs);
    await refresh(source);
    expect(await refused(ownBranch(source, BRANCH, 'fix-1'))).toMatchObject({
      code: 'BRANCH_TAKEN',
      message: expect.stringContaining('not made by cellpool for task fix-1'),
    });
  });

  test('does not move once the fence says no', async () => {
    const source = await host('home', address());
    const commit = commitIn(source);
    const fence = () => Promise.reject(new CellpoolError('FENCED', 'a newer attempt has begun'));
    await expect(publish(source, address(), moveOf(commit, { fence }))).rejects.toMatchObject({ code: 'FENCED' });
    expect(refsOf(remote.bare)).not.toContain(BRANCH);
    expect(keptIn(source)).toBe(commit);
  });
});

describe('a server', () => {
  test('that has a rule against it is told with its own words', async () => {
    const source = await host();
    mkdirSync(join(remote.bare, 'hooks'), { recursive: true });
    const hook = '#!/bin/sh\necho "branches are made by \x1b[31mhumans" >&2\nexit 1\n';
    writeFileSync(join(remote.bare, 'hooks', 'pre-receive'), hook, { mode: 0o755 });
    const commit = commitIn(source);
    const rule = await refused(publish(source, url, moveOf(commit)));
    expect(rule).toMatchObject({ code: 'PUSH_REFUSED', retryable: false });
    expect(rule.message).toMatch(/\(pre-receive hook declined\).*branches are made by \[31mhumans/);
    expect(keptIn(source)).toBe(commit);
  });

  test('whose answer is lost is asked again, and what it has done counts', async () => {
    const source = await host();
    const commit = commitIn(source);
    let asked = 0;
    const fence = async () => {
      asked += 1;
      if (asked === 1) server.trouble.set('push', 'lose');
      else server.trouble.clear();
    };
    await publish(source, url, moveOf(commit, { fence }));
    expect(remote.tip(BRANCH)).toBe(commit);
    expect(asked).toBe(2);
    expect(keptIn(source)).toBe('');
  });

  test('that stays away lets the commit be found by whoever has the job next', async () => {
    const source = await host();
    const commit = commitIn(source);
    server.trouble.set('push', 503);
    expect(await refused(publish(source, url, moveOf(commit)))).toMatchObject({ code: 'REMOTE_UNREACHABLE' });
    expect(await unpublishedWork(source, TASK)).toMatchObject({ commit, attempt: 1 });
    expect(await unpublishedWork(source, { ...TASK, enqueuedAt: ENQUEUED_AT + 1 })).toBeNull();
    expect(await unpublishedWork(source, { ...TASK, taskId: 'fix' })).toBeNull();
    server.trouble.clear();
    await publish(source, url, moveOf(commit));
    expect(await unpublishedWork(source, TASK)).toBeNull();
  });

  test('that does not let us push says so, and the password is told to nobody', async () => {
    const source = await host();
    server.users.set('me', 'right-password');
    useGitConfig(folder, helperOf('me', 'wrong-password'));
    const no = await refused(publish(source, url, moveOf(commitIn(source))));
    expect(no.code).toBe('REMOTE_REFUSED');
    expect(JSON.stringify([no.message, no.facts])).not.toContain('-password');
    useGitConfig(folder, helperOf('me', 'right-password'));
    await publish(source, url, moveOf(commitIn(source)));
  });

  test('that hangs is left when nobody wants the push any more', async () => {
    const source = await host();
    server.trouble.set('push', 'hang');
    const cancel = new AbortController();
    const pushed = publish(source, url, moveOf(commitIn(source), { signal: cancel.signal }));
    await vi.waitUntil(() => keptIn(source) !== '', { timeout: 10_000 });
    cancel.abort('stopping');
    await expect(pushed).rejects.toBe('stopping');
  });
});

test('of two hosts that publish at once one makes the branch, and the other says who was faster', async () => {
  const [one, two] = await Promise.all([host('one'), host('two')]);
  const commits = [commitIn(one), commitIn(two, remote.tip('main'), messageOf({ Attempt: '2' }))] as const;
  const ended = await Promise.allSettled([
    publish(one, url, moveOf(commits[0])),
    publish(two, url, moveOf(commits[1])),
  ]);
  const winner = ended.findIndex(({ status }) => status === 'fulfilled');
  expect(ended.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(remote.tip(BRANCH)).toBe(commits[winner]);
  expect(ended[1 - winner]).toMatchObject({ reason: { code: 'BRANCH_TAKEN' } });
});

test('no hook of the one who pushes runs, nor one of a remote that is a folder', async () => {
  const hooks = join(folder, 'hooks');
  for (const place of [hooks, join(remote.bare, 'hooks')]) {
    mkdirSync(place, { recursive: true });
    for (const name of ['pre-push', 'reference-transaction', 'pre-receive', 'update', 'post-receive', 'post-update']) {
      writeFileSync(join(place, name), `#!/bin/sh\ntouch ${folder}/ran-${name}\nexit 1\n`, { mode: 0o755 });
    }
  }
  useGitConfig(folder, `[core]\n\thooksPath = ${hooks}\n`);
  const source = await host('home', remote.url);
  const commit = commitIn(source);
  await publish(source, remote.url, moveOf(commit));
  expect(remote.tip(BRANCH)).toBe(commit);
  const ran = () => readdirSync(folder).filter(name => name.startsWith('ran-'));
  expect(ran()).toEqual([]);
  // They do run for a git that is left to itself.
  const pushed = () => plainGit(source.gitDir, 'push', remote.bare, `${commit}:refs/heads/x`);
  expect(pushed()).not.toBe(0);
  expect(ran()).toEqual(['ran-pre-push']);
  useGitConfig(folder, '');
  expect(pushed()).not.toBe(0);
  expect(ran()).toContain('ran-pre-receive');
});

test('a folder that has the branch checked out is not written to by a push, and no filter of its runs', async () => {
  const clone = join(folder, 'checked-out');
  git(folder, 'clone', '--quiet', remote.bare, clone);
  const mark = join(folder, 'filter-ran');
  git(clone, 'config', 'filter.x.smudge', `touch ${mark} && cat`);
  git(clone, 'config', 'receive.denyCurrentBranch', 'updateInstead');
  mkdirSync(join(clone, '.git', 'info'), { recursive: true });
  writeFileSync(join(clone, '.git', 'info', 'attributes'), '* filter=x\n');
  git(clone, 'symbolic-ref', 'HEAD', `refs/heads/${BRANCH}`);
  git(clone, 'rm', '--quiet', '-r', '--cached', '.');
  rmSync(join(clone, 'a.txt'));
  const source = await host('home', `file://${clone}`);
  const commit = commitIn(source);
  const error = await refused(publish(source, `file://${clone}`, moveOf(commit)));
  expect(error).toMatchObject({ code: 'PUSH_REFUSED' });
  expect(existsSync(mark)).toBe(false);
  expect((await unpublishedWork(source, TASK))?.commit).toBe(commit);
  // It does run for a git that is left to itself.
  expect(plainGit(source.gitDir, 'push', clone, `${commit}:refs/heads/${BRANCH}`)).toBe(0);
  expect(existsSync(mark)).toBe(true);
});
