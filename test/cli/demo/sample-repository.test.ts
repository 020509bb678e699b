import { execFile } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { makeSampleRepository, sampleTasks } from '../../../src/cli/demo/sample-repository.ts';
import { parseScript, stepsOf } from '../../../src/cli/demo/script.ts';
import { parseTask } from '../../../src/job/task.ts';

let folder = '';
let home = '';
beforeEach(async () => {
  const made = await mkdtemp(join(tmpdir(), 'cellpool-sample-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  home = made;
  folder = join(made, 'repository');
});

const inFolder = () => ({
  cwd: folder,
  env: { PATH: process.env.PATH ?? '', HOME: home, GIT_CONFIG_GLOBAL: '/dev/null' },
});
const git = async (...args: string[]) => (await promisify(execFile)('git', args, inFolder())).stdout;
const shell = (command: string) =>
  promisify(execFile)('sh', ['-c', command], inFolder()).then(
    () => 0,
    (error: { code: number }) => error.code,
  );

/** Does what the scripted model would tell opencode to do in this attempt. */
async function work(prompt: string, attempt: number): Promise<void> {
  for (const step of stepsOf(parseScript(prompt) ?? [], attempt)) {
    for (const [path, content] of Object.entries(step.write ?? {})) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    for (const [path, text] of Object.entries(step.append ?? {})) await appendFile(join(folder, path), text);
    if (step.run !== undefined) expect(await shell(step.run)).toBe(0);
  }
}

describe('the sample repository', () => {
  test('is clean, on main, with two commits and an author of its own', async () => {
    await makeSampleRepository(folder);
    expect(await git('status', '--porcelain')).toBe('');
    expect(await git('branch', '--show-current')).toBe('main\n');
    expect((await git('log', '--format=%an %cn')).trim().split('\n')).toEqual(
      Array(2).fill('cellpool demo cellpool demo'),
    );
  });

  test('passes its own tests, by npm too', async () => {
    await makeSampleRepository(folder);
    expect(await shell('node --test')).toBe(0);
    expect(await shell('npm test --offline')).toBe(0);
    expect(await git('status', '--porcelain')).toBe('');
  });

  test('is never made over something that is there', async () => {
    await makeSampleRepository(folder);
    await expect(makeSampleRepository(folder)).rejects.toThrow(/empty folder/);
  });
});

describe('a sample task', () => {
  test('is a valid task with an id of its own', () => {
    const tasks = sampleTasks();
    expect(tasks.flatMap(task => parseTask(task, task.id).faults)).toEqual([]);
    expect(new Set(tasks.map(task => task.id)).size).toBe(tasks.length);
  });

  test('thinks for two seconds at most', () => {
    for (const { prompt } of sampleTasks()) {
      const thinking = (parseScript(prompt) ?? []).reduce((sum, step) => sum + (step.think ?? 0), 0);
      expect(thinking).toBeGreaterThan(0);
      expect(thinking).toBeLessThanOrEqual(2_000);
    }
  });

  test.each([
    ['demo-1.add-slugify', 1, 'passes', ['?? src/slugify.js', '?? test/slugify.test.js']],
    ['demo-2.add-median', 1, 'fails', ['M src/numbers.js', '?? test/median.test.js']],
    ['demo-2.add-median', 2, 'passes', ['M src/numbers.js', '?? test/median.test.js']],
    ['demo-3.check-comments', 1, 'passes', []],
    ['demo-4.round-prices', 1, 'fails', ['M src/prices.js']],
    ['demo-4.round-prices', 2, 'fails', ['M src/prices.js']],
    [
      'demo-5.rename-list',
      1,
      'passes',
      ['D src/list.js', 'M src/prices.js', 'D test/list.test.js', '?? src/join.js', '?? test/join.test.js'],
    ],
    ['demo-6.describe-functions', 1, 'passes', ['M README.md']],
  ])('ends as it should: %s, attempt %i, %s', async (id, attempt, verdict, changes) => {
    await makeSampleRepository(folder);
    const task = sampleTasks().find(candidate => candidate.id === id);
    await work(task?.prompt ?? '', attempt);
    expect(await shell(task?.test ?? 'false')).toBe(verdict === 'passes' ? 0 : 1);
    const status = (await git('status', '--porcelain')).split('\n').map(line => line.trim());
    expect(status.filter(line => line !== '')).toEqual(changes);
  });
});
