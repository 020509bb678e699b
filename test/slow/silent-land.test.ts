/** `cellpool land` with a Redis that is connected and says nothing: a person who stops it is not kept waiting. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { LANDING_JOB, landingOf, landingOptions, openLandingQueue } from '../../src/job/landing.ts';
import type { RunningCli } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';
import { jobOf } from '../support/jobs.ts';
import { committedAs } from '../support/landings.ts';
import { processesLeft } from '../support/leaks.ts';
import { commitAll, git, writeFiles } from '../support/repository.ts';

let setting: CliQueue;
let top: string;
let commit: string;

beforeAll(async () => {
  setting = await openCliQueue();
  top = setting.cli.repository({ 'a.txt': 'a\n' });
  git(top, 'switch', '--quiet', '--detach');
  writeFiles(top, { 'b.txt': 'b\n' });
  commit = commitAll(top, 'Do it');
});
afterAll(() => setting.close());

/** The command in the middle of the tests of a branch, which take longer than anybody waits. */
async function landing(id: string, flags: readonly string[]): Promise<RunningCli> {
  const begun = join(setting.cli.folder, id);
  git(top, 'branch', `cellpool/${id}`, commit);
  const { plan, ...data } = jobOf(id, { land: 'merge', test: `: >'${begun}'; exec sleep 300` }, top);
  const result = { ...committedAs('1', id), commit };
  const job = landingOf({ ...data, plan: { ...plan, testMs: 600_000 } }, result, 1) ?? expect.fail('it is to land');
  const landings = openLandingQueue(setting.redis, PREFIX);
  await landings.add(LANDING_JOB, job, landingOptions(job));
  await landings.close();
  const running = setting.cli.start(['land', ...flags]);
  await vi.waitUntil(() => existsSync(begun), { timeout: 60_000, interval: 20 });
  return running;
}

test.each([
  { id: 'once', flags: [], signals: 1, code: 130, withinMs: 30_000 },
  { id: 'twice', flags: [], signals: 2, code: 130, withinMs: 8_000 },
  { id: 'watching', flags: ['--watch'], signals: 2, code: 0, withinMs: 20_000 },
])('$id: it ends, and so do the tests that it runs', async ({ id, flags, signals, code, withinMs }) => {
  const running = await landing(id, flags);
  const pid = Number(/process_id:(\d+)/.exec(await setting.redis.info('server'))?.[1]);
  process.kill(pid, 'SIGSTOP');
  try {
    const from = performance.now();
    for (let sent = 0; sent < signals; sent += 1) {
      running.signal('SIGINT');
      await sleep(1_000);
    }
    expect(await running.ended).toMatchObject({ exitCode: code, signal: null });
    expect(performance.now() - from).toBeLessThan(withinMs);
    expect(await processesLeft({ marker: `CELLPOOL_HOME=${setting.cli.home}`, folder: top })).toEqual([]);
  } finally {
    process.kill(pid, 'SIGCONT');
    await setting.clear();
  }
});
