/** Finished branches find their fates: on real git, in real places, by as many landers as there are. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LandingJob, landingIdOf } from '../../src/job/landing.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { cancelLanding } from '../../src/producer/cancel-landing.ts';
import { landingKeys } from '../../src/redis/keys.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { git, pictureOf, refsOf, writeFiles } from '../support/repository.ts';
import { landingJobOf } from '../support/shown-landings.ts';
import { landerSetting } from './lander-setting.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

describe('what waits', () => {
  test('lands together, is told of, and leaves nothing behind', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'one.txt': '1\n' });
    const two = await at.finished('two', { 'two.txt': '2\n' });
    const lander = await at.lander();
    expect(await lander.look()).toBe(false);
    const main = git(at.top, 'rev-parse', 'main');
    expect(await at.fate('one', one)).toMatchObject({
      kind: 'landed',
      commit: main,
      batch: ['one', 'two'],
      flaky: false,
    });
    expect(await at.fate('two', two)).toMatchObject({ kind: 'landed', commit: main, batch: ['one', 'two'] });
    expect(at.firstParents()).toEqual(['Land one, two', 'first']);
    expect(await at.landings.getJobCounts('completed', 'failed', 'wait', 'active')).toEqual({
      ...{ completed: 2, failed: 0, wait: 0, active: 0 },
    });
    for (const name of ['cells', 'landings']) expect(readdirSync(join(at.home, name))).toEqual([]);
    expect(await at.redis.keys(`${landingKeys(at.prefix).lease}*`)).toEqual([]);
    expect(await at.targets.list()).toEqual([]);
    // Branches stay unless somebody has asked for their removal.
    expect(refsOf(at.top)).toContain(`refs/heads/cellpool/one ${one}`);
  });

  test('lands on the branch that its task names, each target by itself', async () => {
    const at = await landerSetting(server);
    git(at.top, 'branch', 'release', 'main');
    await at.finished('one', { 'one.txt': '1\n' }, { landOn: 'release' });
    await at.finished('two', { 'two.txt': '2\n' });
    await (await at.lander()).look();
    expect(at.firstParents('release')).toEqual(['Land one', 'first']);
    expect(at.firstParents('main')).toEqual(['Land two', 'first']);
  });

  test('lands with its branch removed where that was asked for', async () => {
    const at = await landerSetting(server, { plan: { landing: { removeBranch: true } } });
    await at.finished('one', { 'one.txt': '1\n' });
    await (await at.lander()).look();
    expect(at.firstParents()).toEqual(['Land one', 'first']);
    expect(refsOf(at.top)).not.toContain('cellpool/one');
  });

  test('lands after tests that failed once, and is told to be flaky', async () => {
    const at = await landerSetting(server, { files: { 'test.sh': '[ -e "$MARK" ] || { touch "$MARK"; exit 1; }\n' } });
    const test = `MARK=${at.folder}/ran sh test.sh`;
    const one = await at.finished('one', { 'one.txt': '1\n' }, { test });
    await (await at.lander()).look();
    expect(await at.fate('one', one)).toMatchObject({ kind: 'landed', flaky: true });
  });

  test('does not stand in the way of others that this lander may try, and what it lacks is told', async () => {
    const at = await landerSetting(server);
    const gpu = await at.finished('gpu', { 'gpu.txt': '1\n' }, { labels: ['gpu'] });
    await at.finished('two', { 'two.txt': '2\n' });
    const lander = await at.lander();
    await lander.look();
    expect(at.firstParents()).toEqual(['Land two', 'first']);
    expect(await at.fate('gpu', gpu)).toBeNull();
    expect(await at.targets.list()).toMatchObject([
      { held: { code: 'NO_LABELS', reason: expect.stringContaining('gpu') } },
    ]);
    expect(lander.onlyHeld).toBe(true);
  });

  test('is found behind hundreds of another target on which nothing can land', async () => {
    const at = await landerSetting(server);
    git(at.top, 'branch', 'release', 'main');
    const nowhere = { repository: `${at.folder}/nowhere` };
    const many = Array.from({ length: 401 }, (_, index) => landingJobOf(`m${index}`, nowhere));
    const jobs = many.map(data => ({ name: 'landing' as const, data, opts: { jobId: landingIdOf(data) } }));
    await at.landings.addBulk(jobs);
    const commit = git(at.top, 'commit-tree', 'main^{tree}', '-p', 'main', '-m', 'one');
    await at.finishedElsewhere('one', commit, at.top, { landOn: 'release' });
    git(at.top, 'branch', 'cellpool/one', commit);
    await (await at.lander()).look();
    expect(at.firstParents('release')).toEqual(['Land one', 'first']);
    expect(await at.landings.getWaitingCount()).toBe(401);
  });

  test('is not tried as long as its task has not ended: it could not go back', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'one.txt': '1\n' });
    await at.redis.zrem(at.tasks.toKey('completed'), 'one');
    await at.redis.hdel(at.tasks.toKey('one'), 'finishedOn');
    await at.redis.lpush(at.tasks.toKey('active'), 'one');
    await (await at.lander()).look();
    expect(await at.fate('one', one)).toBeNull();
    expect(at.logs.filter(({ msg }) => msg === 'round over')).toEqual([]);
    expect(await at.landings.getWaitingCount()).toBe(1);
  });

  test('is left to the host that has its branch, where that is not this one', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'one.txt': '1\n' });
    const job = await at.landings.getJob(landingIdOf({ taskId: 'one', commit: one }));
    await job?.updateData({ ...(job.data as LandingJob), host: 'another' });
    git(at.top, 'branch', '-D', 'cellpool/one');
    await (await at.lander()).look();
    expect(await at.fate('one', one)).toBeNull();
    await job?.updateData({ ...(job.data as LandingJob), host: 'test' });
    await (await at.lander({ id: 'v' })).look();
    expect(await at.fate('one', one)).toMatchObject({ kind: 'refused', why: 'gone' });
  });

  test('is not tried by a lander that lacks the labels of its task', async () => {
    const at = await landerSetting(server);
    await at.finished('one', { 'one.txt': '1\n' }, { labels: ['gpu'] });
    expect(await (await at.lander()).look()).toBe(true);
    expect(at.firstParents()).toEqual(['first']);
    expect(await (await at.lander({ labels: ['gpu', 'eu'] })).look()).toBe(false);
    expect(at.firstParents()).toEqual(['Land one', 'first']);
  });

  test('waits while the landing queue is paused, or the whole pool', async () => {
    const at = await landerSetting(server);
    await at.finished('one', { 'one.txt': '1\n' });
    await at.landings.pause();
    const lander = await at.lander();
    await lander.look();
    expect(at.firstParents()).toEqual(['first']);
    await at.landings.resume();
    await at.tasks.pause();
    await lander.look();
    expect(at.firstParents()).toEqual(['first']);
    await at.tasks.resume();
    await lander.look();
    expect(at.firstParents()).toEqual(['Land one', 'first']);
  });

  test('that is no landing job of ours fails, and keeps nobody else from landing', async () => {
    const at = await landerSetting(server);
    await at.landings.add('landing', { version: 1, target: '--force' }, { jobId: 'strange' });
    for (let number = 1; number <= 20; number += 1) {
      await at.landings.add('landing', {}, { jobId: `broken-${number}` });
      await at.redis.hset(at.landings.toKey(`broken-${number}`), 'data', 'no JSON');
    }
    await at.redis.lpush(at.landings.toKey('wait'), 'of-another-type');
    await at.redis.set(at.landings.toKey('of-another-type'), 'x');
    await at.finished('one', { 'one.txt': '1\n' });
    await (await at.lander()).look();
    expect(at.firstParents()).toEqual(['Land one', 'first']);
    expect(await at.landings.getJobState('strange')).toBe('failed');
    expect(await at.landings.getJobCounts('wait', 'failed')).toEqual({ wait: 0, failed: 21 });
  });
});

describe('what cannot land', () => {
  test('goes back to the pool from where its target is now, with the paths in conflict and its patch', async () => {
    const at = await landerSetting(server);
    await at.finished('one', { 'a.txt': 'one\n' });
    const two = await at.finished('two', { 'a.txt': 'two\n' });
    await (await at.lander()).look();
    const main = git(at.top, 'rev-parse', 'main');
    expect(await at.fate('two', two)).toMatchObject({
      kind: 'returned',
      why: 'conflict',
      message: 'it contradicts main in a.txt',
    });
    const task = await at.task('two');
    expect(task).toMatchObject({ state: 'waiting', finishedOn: null, attemptsMade: 0 });
    expect(task?.data).toMatchObject({
      kept: 1,
      returned: { times: 1, commit: two, target: 'main', tip: main, why: 'conflict' },
    });
    expect(task?.data?.returned?.message).toBe('a.txt');
    expect(task?.data?.returned?.patch).toContain('+two');
    expect(refsOf(at.top)).toContain(`refs/heads/cellpool/two ${two}`);
  });

  test('is the only one of its batch when its tests are red, and its task hears what they printed', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'one.txt': '1\n' });
    const bad = await at.finished('bad', { 'checks/no-one.sh': '[ ! -e one.txt ]\n' });
    const two = await at.finished('two', { 'two.txt': '2\n' });
    await (await at.lander()).look();
    expect(await at.fate('one', one)).toMatchObject({ kind: 'landed', batch: ['one'] });
    expect(await at.fate('bad', bad)).toMatchObject({ kind: 'returned', why: 'red' });
    expect(await at.fate('two', two)).toMatchObject({ kind: 'landed', batch: ['two'] });
    expect((await at.task('bad'))?.data?.returned?.message).toContain('red: checks/no-one.sh');
    expect(at.firstParents()).toEqual(['Land two', 'Land one', 'first']);
  });

  test('is a matter for a person once its task has come back as often as it may; its branch stays', async () => {
    const at = await landerSetting(server, { plan: { landing: { returns: 1 } } });
    await at.finished('one', { 'a.txt': 'one\n' });
    await at.finished('two', { 'a.txt': 'two\n' });
    const lander = await at.lander();
    await lander.look();
    const again = at.commitBranch('two', { 'a.txt': 'two once more\n' }, 'main~1');
    await at.end('two', again);
    await lander.look();
    expect(await at.fate('two', again)).toMatchObject({
      ...{ kind: 'refused', why: 'conflict', message: expect.stringContaining('come back 1 times') },
    });
    expect(await at.task('two')).toMatchObject({ state: 'completed', result: { outcome: 'committed', commit: again } });
    expect(refsOf(at.top)).toContain(`refs/heads/cellpool/two ${again}`);
    expect(at.firstParents()).toEqual(['Land one', 'first']);
  });

  test('is what its task has made another work of since, or whose branch somebody has moved', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'one.txt': '1\n' });
    const two = await at.finished('two', { 'two.txt': '2\n' });
    git(at.top, 'update-ref', 'refs/heads/cellpool/two', 'main');
    await at.tasks.remove('one');
    await at.finished('one', { 'one.txt': 'anew\n' });
    await (await at.lander()).look();
    expect(await at.fate('one', one)).toMatchObject({ kind: 'refused', why: 'superseded' });
    expect(await at.fate('two', two)).toMatchObject({ kind: 'refused', why: 'gone' });
    expect(at.firstParents()).toEqual(['Land one', 'first']);
    expect(git(at.top, 'show', 'main:one.txt')).toBe('anew');
  });

  test('is what adds a secret that the worker knows', async () => {
    const at = await landerSetting(server);
    const secret = 'sk-very-secret-4711-and-more';
    const one = await at.finished('one', { 'key.txt': `${secret}\n` });
    await (await at.lander({ redactor: new Redactor([secret]) })).look();
    expect(await at.fate('one', one)).toMatchObject({ kind: 'refused', why: 'secret' });
    expect(at.firstParents()).toEqual(['first']);
    expect(JSON.stringify(at.logs)).not.toContain(secret);
  });
});

describe('a secret, or what a person has cancelled', () => {
  test('does not land by a branch that builds on it, nor by one that has taken it away again', async () => {
    const at = await landerSetting(server);
    const secret = 'sk-very-secret-4711-and-more';
    at.commitBranch('one', { 'key.txt': `${secret}\n` });
    at.commitBranch('two', { 'key.txt': 'none\n' }, 'cellpool/one');
    const two = git(at.top, 'rev-parse', 'cellpool/two');
    await at.finishedElsewhere('two', two, at.top, { base: 'cellpool/one', landOn: 'main' });
    await (await at.lander({ redactor: new Redactor([secret]) })).look();
    expect(await at.fate('two', two)).toMatchObject({ kind: 'refused', why: 'secret' });
    expect(at.firstParents()).toEqual(['first']);
  });

  test('keeps the work that builds on it from landing, too', async () => {
    const at = await landerSetting(server);
    await at.finished('one', { 'one.txt': '1\n' });
    const result = (await at.task('one'))?.result ?? expect.fail('one has no result');
    expect(await cancelLanding(at, result)).toBe('removed');
    const two = at.commitBranch('two', { 'two.txt': '2\n' }, 'cellpool/one');
    await at.finishedElsewhere('two', two, at.top, { dependsOn: ['one'], base: 'cellpool/one', landOn: 'main' });
    await (await at.lander()).look();
    expect(await at.fate('two', two)).toMatchObject({ why: 'cancelled', message: expect.stringContaining('one') });
    expect(at.firstParents()).toEqual(['first']);
  });
});

describe('one that is strange', () => {
  test('has no history in common with its target: it is told to be in conflict, and the others land', async () => {
    const at = await landerSetting(server);
    const tree = git(at.top, 'rev-parse', 'main^{tree}');
    const orphan = git(at.top, 'commit-tree', tree, '-m', 'orphan');
    git(at.top, 'branch', 'cellpool/odd', orphan);
    await at.finishedElsewhere('odd', orphan, at.top, {});
    await at.finished('two', { 'two.txt': '2\n' });
    await (await at.lander()).look();
    expect(await at.fate('odd', orphan)).toMatchObject({
      why: 'conflict',
      message: expect.stringContaining('history'),
    });
    expect(at.firstParents()).toEqual(['Land two', 'first']);
  });

  test('is larger than anything that is read at once, and lands with the others', async () => {
    const at = await landerSetting(server);
    const big = await at.finished('big', { 'big.txt': `${'x'.repeat(999)}\n`.repeat(70_000) });
    await at.finished('two', { 'two.txt': '2\n' });
    await (await at.lander()).look();
    expect(await at.fate('big', big)).toMatchObject({ kind: 'landed' });
    expect(at.firstParents()).toEqual(['Land big, two', 'first']);
  });
});

describe('a target on which nothing can land', () => {
  test('is left alone while somebody works on it, edits and all, and the reason is told', async () => {
    const at = await landerSetting(server);
    await at.finished('one', { 'one.txt': '1\n' });
    git(at.top, 'switch', '--quiet', 'main');
    writeFiles(at.top, { 'a.txt': 'edited\n' });
    const before = { files: pictureOf(at.top), refs: refsOf(at.top) };
    const first = await at.lander();
    expect(await first.look()).toBe(true);
    expect(first.onlyHeld).toBe(true);
    expect({ files: pictureOf(at.top), refs: refsOf(at.top) }).toEqual(before);
    expect(await at.targets.list()).toMatchObject([
      { target: 'main', trying: [], held: { code: 'BRANCH_CHECKED_OUT', forPerson: true } },
    ]);
    git(at.top, 'switch', '--quiet', '--detach');
    // Another one knows of no reason to wait.
    expect(await (await at.lander({ id: 'v' })).look()).toBe(false);
    expect(at.firstParents()).toEqual(['Land one', 'first']);
    expect(await first.look()).toBe(false);
    expect(await at.targets.list()).toEqual([]);
  });

  test('is red by the tests of one task alone: what is tested in another way lands', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'own.sh': 'true\n' }, { test: 'sh own.sh && [ ! -e two.txt ]' });
    await at.finished('two', { 'two.txt': '2\n' });
    await (await at.lander()).look();
    expect(at.firstParents()).toContain('Land two');
    expect(await at.landing('one', one)).toMatchObject({ data: { taskId: 'one' } });
  });

  test('is one whose own tests fail: nobody is refused for that', async () => {
    const at = await landerSetting(server, { files: { 'test.sh': 'echo broken; exit 1\n' } });
    const one = await at.finished('one', { 'one.txt': '1\n' });
    expect(await (await at.lander()).look()).toBe(true);
    expect(await at.fate('one', one)).toBeNull();
    const [note] = await at.targets.list();
    expect(note?.held).toMatchObject({
      code: 'TARGET_RED',
      forPerson: true,
      reason: expect.stringContaining('broken'),
    });
    expect(await at.landings.getJobCounts('wait', 'active')).toEqual({ wait: 1, active: 0 });
  });
});

describe('many landers', () => {
  test('never land on one target at a time, and every candidate has one fate', async () => {
    const at = await landerSetting(server);
    const commits = new Map<string, string>();
    for (let number = 1; number <= 8; number += 1) {
      commits.set(`t${number}`, await at.finished(`t${number}`, { [`${number}.txt`]: `${number}\n` }));
    }
    const landers = await Promise.all(['u', 'v', 'w'].map(id => at.lander({ id, batch: 2 })));
    for (let waits = true; waits; ) waits = (await Promise.all(landers.map(one => one.look()))).some(Boolean);
    for (const [id, commit] of commits) expect(await at.fate(id, commit)).toMatchObject({ kind: 'landed' });
    expect(at.firstParents()).toHaveLength(1 + 4);
    expect(at.logs.filter(({ msg }) => msg === 'nothing landed')).toEqual([]);
  });

  test('finish what one has begun that died: no branch lands twice, and none is lost', async () => {
    const at = await landerSetting(server);
    const one = await at.finished('one', { 'one.txt': '1\n' });
    const two = await at.finished('two', { 'two.txt': '2\n' });
    // The target has one of them, and both are in the hands of nobody who lives: their locks have run out.
    git(at.top, 'update-ref', 'refs/heads/main', one);
    for (const id of [`one.${one.slice(0, 12)}`, `two.${two.slice(0, 12)}`]) {
      const [wait, active] = [at.landings.toKey('wait'), at.landings.toKey('active')];
      expect(await at.redis.lrem(wait, 1, id)).toBe(1);
      await at.redis.lpush(active, id);
    }
    await (await at.lander()).look();
    expect(await at.fate('one', one)).toMatchObject({ kind: 'landed', message: 'main has it already' });
    expect(await at.fate('two', two)).toMatchObject({ kind: 'landed', batch: ['two'] });
    expect(at.firstParents()).toEqual(['Land two', 'one', 'first']);
  });

  test('leave a target to whoever has its lease', async () => {
    const at = await landerSetting(server);
    await at.finished('one', { 'one.txt': '1\n' });
    const first = await at.lander();
    await Promise.all([first.look(), (await at.lander({ id: 'v' })).look()]);
    expect(at.firstParents()).toEqual(['Land one', 'first']);
  });
});

test('a lander that is stopped in the middle of its tests puts back what it had, in its order, and leaves nothing', async () => {
  const at = await landerSetting(server, { files: { 'test.sh': 'touch "$HOME/begun"; sleep 60\n' } });
  const [one, two] = [await at.finished('one', { 'one.txt': '1\n' }), await at.finished('two', { 'two.txt': '2\n' })];
  const lander = await at.lander();
  const looking = lander.look();
  const begun = () =>
    readdirSync(join(at.home, 'cells')).some(id => existsSync(join(at.home, 'cells', id, 'home', 'begun')));
  await expect.poll(() => existsSync(join(at.home, 'cells')) && begun(), { timeout: 30_000 }).toBe(true);
  await lander.stop();
  await looking;
  const ids = await at.redis.lrange(at.landings.toKey('wait'), 0, -1);
  expect(ids.toReversed()).toEqual([`one.${one.slice(0, 12)}`, `two.${two.slice(0, 12)}`]);
  expect(await at.landings.getJobCountByTypes('active')).toBe(0);
  for (const name of ['cells', 'landings']) expect(readdirSync(join(at.home, name))).toEqual([]);
  expect(at.firstParents()).toEqual(['first']);
});
