/**
 * Two hundred finished branches, two workers that land them, and SIGKILL for one of the two again and again. Of the
 * branches twenty contradict another one, and twenty are red only together with another one; what comes back is worked
 * anew by real agents.
 */
import { Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type ScriptedModel, startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import type { Fate } from '../../src/job/fate.ts';
import type { TaskJob } from '../../src/job/job.ts';
import {
  LANDING_JOB,
  type LandingJob,
  type LandingQueue,
  landingOf,
  landingOptions,
  openLandingQueue,
} from '../../src/job/landing.ts';
import { TASK_QUEUE } from '../../src/job/names.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { readJob } from '../../src/job/stored-job.ts';
import type { TaskInput } from '../../src/job/task.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { openRedis, type RedisHandle } from '../../src/redis/open-redis.ts';
import { CliHome, type RunningCli, scripted } from '../support/cli.ts';
import { resultOf } from '../support/jobs.ts';
import { type Files, git, gitWith, tempFolder } from '../support/repository.ts';

const BRANCHES = 200;
/** Of each kind of trouble so many pairs. */
const PAIRS = 10;
const KILLS = 6;
const MINUTE = 60_000;
const PREFIX = 'cellpool';
/** Each pair of flags is red together, and nothing else is. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
const TEST = 'for f in flags/*-a; do [ ! -e "${f%-a}-b" ] || { echo "red: $f"; exit 1; }; done';

/** What each branch changes. The second of a pair of either kind cannot land as it is. */
const branches = new Map<string, Files>();
const clashing: string[] = [];
const stubborn: string[] = [];
for (let number = 1; number <= BRANCHES; number += 1) {
  const id = `t${String(number).padStart(3, '0')}`;
  const files: Files = { [`parts/${id}.txt`]: `${id}\n` };
  const [pair, side] = [Math.floor((number - 1) / 2) % 50, number % 2 === 1 ? 'a' : 'b'];
  if (number <= 2 * PAIRS) files[`shared-${pair}.txt`] = `${id}\n`;
  else if (number <= 4 * PAIRS) files[`flags/${pair}-${side}`] = `${id}\n`;
  if (side === 'b' && number <= 2 * PAIRS) clashing.push(id);
  else if (side === 'b' && number <= 4 * PAIRS) stubborn.push(id);
  branches.set(id, files);
}
/** Every other pair lies side by side, so that its branches meet within a batch; the second one of others comes last. */
const isLate = (id: string) => [...clashing, ...stubborn].indexOf(id) % 2 === 1;
const inLine = [...branches.keys()].sort((a, b) => Number(isLate(a)) - Number(isLate(b)) || a.localeCompare(b));

const cli = new CliHome();
let model: ScriptedModel;
let server: RedisHandle;
let redis: Redis;
let queue: TaskQueue;
let landings: LandingQueue;
let top: string;
let first: string;
let kills = 0;

beforeAll(async () => {
  model = await startScriptedModel();
  top = cli.repository({ 'README.md': 'x\n', 'flags/none': '' });
  git(top, 'switch', '--quiet', '--detach');
  first = git(top, 'rev-parse', 'main');
  server = await openRedis({ home: cli.home });
  redis = connectRedis(server.address, 'worker');
  queue = openQueue(redis, PREFIX);
  landings = openLandingQueue(redis, PREFIX);
  await finishAll();
  await landAll();
}, 12 * MINUTE);

afterAll(async () => {
  await Promise.all([queue.close(), landings.close()]);
  redis.disconnect();
  await server.close();
  await model.close();
  await cli.expectNothingLeft(top);
  cli.remove();
});

/** All branches as commits on main, in one go. */
function makeBranches(): void {
  const stream = [...branches].flatMap(([id, files], at) => [
    `commit refs/heads/cellpool/${id}`,
    `committer Test <test@example.com> ${1_700_000_000 + at} +0000`,
    `data ${id.length}\n${id}`,
    `from ${first}`,
    ...Object.entries(files).map(([path, text]) => `M 644 inline ${path}\ndata ${text.length}\n${text}`),
  ]);
  gitWith(Buffer.from(`${stream.join('\n')}\n`), top, 'fast-import', '--quiet');
}

/** Every task is on the queue, has committed its branch, and waits to land: as their workers leave them. */
async function finishAll(): Promise<void> {
  makeBranches();
  const tasks = inLine.map((id): TaskInput => {
    return scripted(id, [{ write: branches.get(id) ?? {} }], { test: TEST, land: 'merge', attempts: 1 });
  });
  const file = cli.tasksFile('tasks.jsonl', tasks);
  const args = ['enqueue', file, '--repo', top, ...cli.modelFlags(model)];
  expect(await cli.run(args, { env: { CELLPOOL_LAND_RETURNS: '1' } })).toMatchObject({ exitCode: 0 });
  const taker = new Worker(TASK_QUEUE, null, { connection: redis, prefix: PREFIX, autorun: false });
  for (const id of inLine) {
    const job = (await taker.getNextJob(id)) ?? expect.fail(`there is no job ${id}`);
    const data = job.data as TaskJob;
    const commit = git(top, 'rev-parse', `cellpool/${job.id}`);
    const result = { ...resultOf(job.id ?? '', 'committed'), branch: `cellpool/${job.id}`, commit };
    const landing = landingOf(data, result, job.timestamp) ?? expect.fail('nothing is to land');
    await job.updateData({ ...data, results: [result] });
    await landings.add(LANDING_JOB, landing, landingOptions(landing));
    await job.moveToCompleted(result, id, false);
  }
  await taker.close();
}

async function landAll(): Promise<void> {
  const start = () => cli.start(['worker', '--no-supervisor', '--concurrency', '2', '--json']);
  const workers: RunningCli[] = [start(), start()];
  const ended = () => landings.getJobCountByTypes('completed', 'failed');
  for (kills = 0; kills < KILLS; kills += 1) {
    // One of the two, in the middle of whatever it does, once more has landed than at the kill before.
    const before = await ended();
    await vi.waitUntil(async () => (await ended()) >= Math.min(before + 15, BRANCHES - 10), {
      timeout: 3 * MINUTE,
      interval: 37,
    });
    const at = kills % workers.length;
    workers[at]?.signal('SIGKILL');
    await workers[at]?.ended;
    workers[at] = start();
  }
  const open = async () =>
    (await landings.getJobCountByTypes('wait', 'active')) +
    (await queue.getJobCountByTypes('wait', 'active', 'delayed', 'prioritized'));
  await vi.waitUntil(async () => (await open()) === 0, { timeout: 8 * MINUTE, interval: 200 });
  for (const worker of workers) worker.signal('SIGTERM');
  const all = await Promise.all(workers.map(worker => worker.ended));
  expect(all.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
}

interface Landing {
  data: LandingJob;
  fate: Fate;
}

async function allLandings(): Promise<Landing[]> {
  const jobs = await landings.getJobs(['completed', 'failed'], 0, -1);
  return jobs.map(({ id, data }) => {
    const landing = data as LandingJob;
    return { data: landing, fate: landing.fate ?? expect.fail(`${id} has no fate`) };
  });
}

const landedBy = (commit: string) =>
  git(top, 'log', '-1', '--format=%(trailers:key=Landed,valueonly)', commit).trim().split(', ');
const firstParents = () => git(top, 'rev-list', '--first-parent', '--reverse', `${first}..main`).split('\n');

test('the first parents of the target are landings and nothing else, each on the one before', () => {
  const commits = firstParents();
  expect(commits.length).toBeGreaterThan(BRANCHES / 5);
  expect(git(top, 'rev-parse', `${commits[0]}^1`)).toBe(first);
  for (const commit of commits) expect(git(top, 'log', '-1', '--format=%s', commit)).toMatch(/^Land t/);
  expect(git(top, 'fsck', '--strict', '--connectivity-only')).toBe('');
});

test('the test command is green at every commit that landed', () => {
  const work = tempFolder('landed');
  git(top, 'worktree', 'add', '--quiet', '--detach', work, 'main');
  try {
    for (const commit of firstParents()) {
      git(work, 'checkout', '--quiet', '--detach', commit);
      git(work, '-c', `alias.judge=!${TEST}`, 'judge');
    }
  } finally {
    git(top, 'worktree', 'remove', '--force', work);
  }
});

test('every branch has one fate: those that fit landed, those that contradict were worked anew, and landed then', async () => {
  const all = await allLandings();
  const fates = new Map<string, string[]>();
  for (const { data, fate } of all.toSorted((a, b) => a.fate.at - b.fate.at)) {
    fates.set(data.taskId, [
      ...(fates.get(data.taskId) ?? []),
      fate.kind === 'landed' ? fate.kind : `${fate.kind}: ${fate.why}`,
    ]);
  }
  expect(new Set(all.map(({ data }) => `${data.taskId} ${data.commit}`)).size).toBe(all.length);
  const unusual = [...fates].filter(([, kinds]) => kinds.join() !== 'landed').sort();
  const expected = [
    ...clashing.map(id => [id, ['returned: conflict', 'landed']]),
    // At the tip it is red at once, so its agent has nothing to land.
    ...stubborn.map(id => [id, ['returned: red']]),
  ].sort();
  expect(unusual).toEqual(expected);
  expect(fates.size).toBe(BRANCHES);
});

test('nothing landed twice and nothing is lost: what landed is in the target, what did not is on its branch', async () => {
  const all = await allLandings();
  const named = firstParents().flatMap(landedBy).sort();
  const landed = all.filter(({ fate }) => fate.kind === 'landed');
  expect(named).toEqual(landed.map(({ data }) => data.taskId).sort());
  for (const { data, fate } of landed) {
    expect(landedBy(fate.commit ?? '')).toContain(data.taskId);
    expect(git(top, 'merge-base', '--is-ancestor', data.commit, 'main')).toBe('');
    expect(git(top, 'show', `main:parts/${data.taskId}.txt`)).toBe(data.taskId);
  }
  for (const { data } of all.filter(({ fate }) => fate.why === 'red')) {
    expect(git(top, 'rev-parse', data.branch)).toBe(data.commit);
    expect(await readJob(queue, data.taskId)).toMatchObject({ state: 'failed', result: { outcome: 'reverted' } });
  }
});

test('the workers were killed while they landed', () => {
  expect(kills).toBe(KILLS);
});
