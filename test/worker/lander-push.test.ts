/** Landing in a remote: a bare repository that others push to as well, reached from a folder or named by URL. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMirror, pinBase } from '../../src/git/mirror.ts';
import { openSource } from '../../src/git/source.ts';
import { spawnConfigOf } from '../../src/worker/run-attempt.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { makeRemote } from '../support/remote.ts';
import { git, refsOf, tempFolder } from '../support/repository.ts';
import { FILES, landerSetting } from './lander-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const PUSH = { land: 'push' } as const;

/** A folder whose `origin` is a bare repository of its own, equal to it. */
async function pushed(plan: object = {}) {
  const at = await landerSetting(server, { plan });
  const folder = tempFolder('remote');
  git(folder, 'clone', '--quiet', '--bare', '--template=', at.top, 'app.git');
  const bare = join(folder, 'app.git');
  git(at.top, 'remote', 'add', 'origin', bare);
  return { ...at, bare, subjects: () => git(bare, 'log', '--first-parent', '--format=%s', 'main').split('\n') };
}

describe('from a folder', () => {
  test('the target in the remote moves, and nothing of the folder does', async () => {
    const at = await pushed();
    git(at.top, 'switch', '--quiet', 'main');
    const one = await at.finished('one', { 'one.txt': '1\n' }, PUSH);
    const two = await at.finished('two', { 'two.txt': '2\n' }, PUSH);
    // Whoever works on the branch here is not in the way of the remote's.
    git(at.top, 'switch', '--quiet', 'main');
    const before = refsOf(at.top);
    await (await at.lander()).look();
    expect(at.subjects()).toEqual(['Land one, two', 'first']);
    expect(refsOf(at.top)).toBe(before);
    const landed = git(at.bare, 'rev-parse', 'main');
    expect(await at.fate('one', one)).toMatchObject({ kind: 'landed', commit: landed });
    expect(await at.fate('two', two)).toMatchObject({ kind: 'landed', commit: landed });
    expect(git(at.bare, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
  });

  test('what others have pushed meanwhile is merged with, and never overwritten', async () => {
    const at = await pushed();
    await at.finished('one', { 'one.txt': '1\n' }, PUSH);
    const theirs = join(tempFolder('theirs'), 'clone');
    git(at.folder, 'clone', '--quiet', at.bare, theirs);
    git(theirs, 'commit', '--quiet', '--allow-empty', '-m', 'theirs');
    git(theirs, 'push', '--quiet', 'origin', 'HEAD:main');
    await (await at.lander()).look();
    expect(at.subjects()).toEqual(['Land one', 'theirs', 'first']);
  });

  test('a push that is rejected because the target moved is tried again from the new tip', async () => {
    const at = await pushed();
    await at.finished('one', { 'one.txt': '1\n' }, PUSH);
    // The tests themselves are somebody who pushes, once.
    const theirs = join(tempFolder('theirs'), 'clone');
    git(at.folder, 'clone', '--quiet', at.bare, theirs);
    git(theirs, 'commit', '--quiet', '--allow-empty', '-m', 'theirs');
    const push = `[ -e ${theirs}/done ] || { touch ${theirs}/done; git -C ${theirs} push -q origin HEAD:main; }`;
    await at.finished('two', { 'checks/push.sh': `${push}\n` }, PUSH);
    const lander = await at.lander();
    await lander.look();
    await lander.look();
    expect(at.subjects()).toEqual(['Land one, two', 'theirs', 'first']);
  });

  test('a server that has a rule against it keeps what waits in its line, and its words are told', async () => {
    const at = await pushed();
    git(at.bare, 'config', 'receive.hideRefs', 'refs/heads/main');
    const one = await at.finished('one', { 'one.txt': '1\n' }, PUSH);
    expect(await (await at.lander()).look()).toBe(true);
    expect((await at.targets.list())[0]?.held).toMatchObject({ code: 'PUSH_REFUSED', forPerson: true });
    expect(await at.landings.getJobCounts('wait', 'active')).toEqual({ wait: 1, active: 0 });
    expect(await at.fate('one', one)).toBeNull();
    git(at.bare, 'config', '--unset', 'receive.hideRefs');
    await (await at.lander({ id: 'v' })).look();
    expect(at.subjects()).toEqual(['Land one', 'first']);
  });

  test('a remote that is not there is told by name, and one with a password in its address is refused unsaid', async () => {
    const at = await pushed({ landing: { remote: 'upstream' } });
    const one = await at.finished('one', { 'one.txt': '1\n' }, PUSH);
    await (await at.lander()).look();
    expect((await at.targets.list())[0]?.held).toMatchObject({ code: 'NO_SUCH_REMOTE', forPerson: true });
    git(at.top, 'remote', 'add', 'upstream', 'https://me:hunter2@example.com/app.git');
    await (await at.lander({ id: 'v' })).look();
    const [note] = await at.targets.list();
    expect(note?.held?.reason).toContain('credential helper');
    expect(JSON.stringify([note, at.logs])).not.toContain('hunter2');
    expect(await at.fate('one', one)).toBeNull();
  });

  test('work that contradicts the remote begins anew at the tip there, which the folder has then', async () => {
    const at = await pushed();
    await at.finished('one', { 'a.txt': 'one\n' }, PUSH);
    await at.finished('two', { 'a.txt': 'two\n' }, PUSH);
    await (await at.lander()).look();
    const data = (await at.task('two'))?.data ?? expect.fail('two is not there');
    const tip = git(at.bare, 'rev-parse', 'main');
    expect(data.returned).toMatchObject({ tip, beginsAtTip: true, why: 'conflict' });
    const config = spawnConfigOf({ job: { timestamp: 1 }, token: 't', data, attempt: 1 });
    expect(config.commit).toBe(tip);
    // As a cell does it: the branch of that name is elsewhere in the folder.
    const source = await openSource(at.top);
    const mirror = await openMirror(join(at.folder, 'other-home'), source);
    expect(await pinBase(mirror, source, 'main', 'two.00000000', undefined, config.commit)).toBe(tip);
    expect(git(mirror.path, 'show', `${tip}:a.txt`)).toBe('one');
    expect(git(at.top, 'rev-parse', 'main')).not.toBe(tip);
  });
});

describe('of a repository that is named by URL', () => {
  test('both ways move the target in it, and a branch that has landed is removed there when asked', async () => {
    const at = await landerSetting(server, { plan: { landing: { removeBranch: true } } });
    const remote = makeRemote(tempFolder('remote'), FILES);
    const one = remote.push('cellpool/one', { 'one.txt': '1\n' });
    const two = remote.push('cellpool/two', { 'two.txt': '2\n' });
    await at.finishedElsewhere('one', one, remote.url, { land: 'merge' });
    await at.finishedElsewhere('two', two, remote.url, { land: 'push' });
    await (await at.lander()).look();
    expect(git(remote.bare, 'log', '--first-parent', '--format=%s', 'main').split('\n')[0]).toBe('Land one, two');
    expect(git(remote.bare, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
  });
});

test('no hook of the folder or of the remote runs as the worker', async () => {
  const at = await pushed();
  await at.finished('one', { 'one.txt': '1\n' }, PUSH);
  const mark = join(at.folder, 'hook-ran');
  for (const folder of [join(at.top, '.git', 'hooks'), join(at.bare, 'hooks')]) {
    mkdirSync(folder, { recursive: true });
    for (const name of ['post-merge', 'pre-push', 'reference-transaction', 'post-checkout', 'pre-receive', 'update']) {
      writeFileSync(join(folder, name), `#!/bin/sh\ntouch ${mark}\n`, { mode: 0o755 });
    }
  }
  await (await at.lander()).look();
  expect(at.subjects()).toEqual(['Land one', 'first']);
  expect(existsSync(mark)).toBe(false);
});
