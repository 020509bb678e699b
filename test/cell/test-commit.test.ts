/** The tests of a commit in a place of its own: no agent, no server, and nothing left. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testCommit } from '../../src/cell/test-commit.ts';
import { DiskWatch } from '../../src/os/disk-watch.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { commitAll, git, writeFiles } from '../support/repository.ts';
import { landingJobOf } from '../support/shown-landings.ts';

let server: TestRedis;
let redis: Redis;
let cells: TestCells;
let registry: CellRegistry;
let commit: string;

beforeAll(async () => {
  server = await testRedis();
  redis = await server.connect('producer');
  cells = await startTestCells();
  registry = new CellRegistry(redis, { prefix: server.prefix(), host: 'test', home: cells.home });
  // On no branch: as a merge that nobody's branch points to yet.
  git(cells.repository, 'switch', '--quiet', '--detach');
  writeFiles(cells.repository, { 'only-here.txt': 'x\n' });
  commit = commitAll(cells.repository, 'to be tested');
});
afterAll(async () => {
  await cells.expectNothingLeft();
  await cells.close();
  await server.close();
});

const plan = { ...landingJobOf('a').plan, setupMs: 30_000, testMs: 30_000 };

async function tested(of: { test: string; plan?: object; signal?: AbortSignal }) {
  const job = { ...landingJobOf('a'), test: of.test, plan: { ...plan, ...of.plan } };
  const registration = { cells: registry, worker: { id: 'w', ...(await ownIdentity()) } };
  const from = join(cells.repository, '.git');
  const options = { site: cells.site, disks: new DiskWatch(), registration, commit, from, job };
  return testCommit({ ...options, signal: of.signal });
}

describe('a commit', () => {
  test('is green when setup and tests are, in a fresh checkout of exactly this commit', async () => {
    const test = '[ -e only-here.txt ] && [ -e from-setup ] && [ "$(git rev-parse HEAD)" = "$WANTED" ]';
    const { passed, tail } = await tested({
      test: test.replace('$WANTED', commit),
      plan: { setup: 'touch from-setup' },
    });
    expect({ passed, tail }).toEqual({ passed: true, tail: '' });
    expect(await registry.list()).toEqual([]);
    expect(git(cells.repository, 'status', '--porcelain')).toBe('');
  });

  test('is red when they fail, and the end of what they printed is told and kept', async () => {
    const { passed, tail, artifacts } = await tested({ test: 'echo expected 3, found 4; exit 7' });
    expect(passed).toBe(false);
    expect(tail).toBe('the test command ended with code 7\nexpected 3, found 4');
    expect(readFileSync(join(artifacts, 'test.log'), 'utf8')).toBe('expected 3, found 4\n');
  });

  test('is red when its setup fails: a change may break that, too', async () => {
    const { passed, tail } = await tested({ test: 'true', plan: { setup: 'echo no such package; exit 1' } });
    expect([passed, tail]).toEqual([false, 'the setup command ended with code 1\nno such package']);
  });

  test('is red when the tests take too long, and what they left running is ended', async () => {
    const { passed, tail } = await tested({ test: 'sleep 300 & sleep 300', plan: { testMs: 300 } });
    expect([passed, tail]).toEqual([false, 'the test command was not done after 300 ms']);
    expect(cells.processes()).toEqual([]);
  });

  test('stands in the registry while it is tested, without a task, so that a reaper finds its place', async () => {
    const over = new AbortController();
    const running = tested({ test: 'touch "$HOME/begun"; sleep 300', signal: over.signal }).catch(error => error);
    const places = () => readdirSync(join(cells.home, 'cells'));
    const begun = () => places().some(id => existsSync(join(cells.home, 'cells', id, 'home', 'begun')));
    await expect.poll(begun, { timeout: 30_000 }).toBe(true);
    const [entry] = await registry.list();
    expect(entry?.record).toMatchObject({ stage: 'landing', taskId: null, attempt: 0, port: null, server: null });
    over.abort(new Error('enough'));
    expect(await running).toMatchObject({ message: 'enough' });
    expect(await registry.list()).toEqual([]);
    expect(places()).toEqual([]);
  });
});
