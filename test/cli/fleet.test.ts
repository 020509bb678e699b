/** `cellpool fleet`, and what `enqueue` says of labels, on a Redis in which workers and slots were entered by hand. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Slots } from '../../src/redis/slots.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { jsonLines } from '../support/cli.ts';
import { type CliQueue, openCliQueue, PREFIX } from '../support/cli-queue.ts';

let setting: CliQueue;
let slots: Slots;
let workers: WorkerList;

beforeAll(async () => {
  setting = await openCliQueue();
  slots = new Slots(setting.redis, { prefix: PREFIX });
  workers = new WorkerList(setting.redis, { prefix: PREFIX });
});
afterEach(() => setting.clear());
afterAll(() => setting.close());

const jsonOf = async (...args: string[]) => jsonLines((await setting.cli.run(['fleet', ...args])).stdout);

async function enter(host: string, id: string, labels: string[], tasks: string[]): Promise<void> {
  const process = { pid: 1, startTime: '1', bootId: 'b' };
  const entry = { id, host, ...process, startedAt: 1, concurrency: 9, running: tasks, draining: false, labels };
  await workers.beat(entry);
  for (const taskId of tasks) {
    const worker = { id, ...process, pidNamespace: 'n' };
    await slots.acquire({ host, home: '/h', worker, taskId, attempt: 1, repository: '/r' }, null);
  }
}

test('shows the hosts with their workers, labels and cells, and the caps', async () => {
  await enter('build-7', 'build-7.1', ['gpu'], ['a', 'b']);
  await enter('build-7', 'build-7.2', ['eu'], []);
  await enter('build-8', 'build-8.1', [], ['c']);
  await slots.set({ cells: 40, hostCells: 10 });
  const { exitCode, stdout, stderr } = await setting.cli.run(['fleet']);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(
    stdout
      .trimEnd()
      .split('\n')
      .map(line => line.trim().split(/ {2,}/)),
  ).toEqual([
    ['HOST', 'WORKERS', 'CELLS', 'CAP', 'LABELS'],
    ['build-7', '2', '2', '10', 'eu, gpu'],
    ['build-8', '1', '1', '10', '-'],
    ['(all)', '3', '3', '40', '-'],
  ]);
  expect(await jsonOf('--json')).toEqual([
    {
      cells: { used: 3, cap: 40 },
      hostCells: { cap: 10 },
      settlingMs: 0,
      hosts: [
        { host: 'build-7', workers: 2, cells: 2, labels: ['eu', 'gpu'] },
        { host: 'build-8', workers: 1, cells: 1, labels: [] },
      ],
    },
  ]);
});

test('sets caps, changes one, takes one away, and then both', async () => {
  expect(await jsonOf('set', '--cells', '40', '--host-cells', '10', '--json')).toMatchObject([
    { cells: { cap: 40 }, hostCells: { cap: 10 } },
  ]);
  expect(await jsonOf('set', '--json', '--cells', 'off')).toMatchObject([
    { cells: { cap: null }, hostCells: { cap: 10 } },
  ]);
  expect(await jsonOf('set', '--json', '--cells', '0')).toMatchObject([{ cells: { cap: 0 }, hostCells: { cap: 10 } }]);
  expect(await jsonOf('off', '--json')).toMatchObject([{ cells: { cap: null }, hostCells: { cap: null } }]);
});

test('tells every fault and changes nothing', async () => {
  await slots.set({ cells: 3 });
  const { exitCode, stdout, stderr } = await setting.cli.run(['fleet', 'set', '--cells', '-1', '--host-cells', 'many']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr).toContain('--cells: is a whole number or off, not "-1"');
  expect(stderr).toContain('--host-cells: is a whole number or off, not "many"');
  const none = await setting.cli.run(['fleet', 'set']);
  expect({ exitCode: none.exitCode, stderr: none.stderr }).toMatchObject({ exitCode: 2 });
  expect(await slots.list()).toMatchObject({ cells: 3, hostCells: null });
});

test('enqueue says which labels no living worker has, and puts the tasks on the queue all the same', async () => {
  await enter('build-7', 'build-7.1', ['gpu'], []);
  const repository = setting.cli.repository();
  const task = (id: string, labels?: string[]) => ({
    id,
    prompt: 'do it',
    ...(labels === undefined ? {} : { labels }),
  });
  const file = setting.cli.tasksFile('labels.jsonl', [
    task('gpu-1', ['gpu']),
    task('both-1', ['gpu', 'us']),
    task('both-2', ['us', 'gpu']),
    task('any', []),
    task('default'),
  ]);
  const { exitCode, stderr } = await setting.cli.run([
    'enqueue',
    file,
    '--repo',
    repository,
    '--model',
    'a/b',
    '--labels',
    'big',
    '--json',
  ]);
  expect(exitCode).toBe(0);
  expect(stderr).toContain('No living worker has the labels gpu, us: both-1 and 1 more wait until one comes.');
  expect(stderr).toContain('No living worker has the label big: default waits until one comes.');
  expect(stderr).not.toContain('gpu-1');
  expect((await setting.queue.getJob('both-2'))?.data).toMatchObject({ task: { labels: ['gpu', 'us'] } });
  expect((await setting.queue.getJob('default'))?.data).toMatchObject({ task: { labels: ['big'] } });
});

test('labels that are none are refused, of tasks and of workers', async () => {
  const repository = setting.cli.repository();
  const file = setting.cli.tasksFile('bad.jsonl', [{ id: 'a', prompt: 'do it', labels: ['g p u'] }]);
  const enqueued = await setting.cli.run(['enqueue', file, '--repo', repository, '--model', 'a/b']);
  expect(enqueued.exitCode).toBe(2);
  expect(enqueued.stderr).toContain('must be a list of labels');
  const worker = await setting.cli.run(['worker', '--labels', 'gpu,,-eu']);
  expect(worker.exitCode).toBe(2);
  expect(worker.stderr).toContain('--labels: must be a list of labels');
});
