/** The reaper on what a killed worker left: real processes, folders, pins, leases, jobs. */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { silentLogger } from '../../src/observe/logger.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { readProcess } from '../../src/os/process-table.ts';
import { removeTree } from '../../src/os/remove-tree.ts';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { cellKeys } from '../../src/redis/keys.ts';
import { PortLeases } from '../../src/redis/port-lease.ts';
import { Slots } from '../../src/redis/slots.ts';
import { Tally } from '../../src/redis/tally.ts';
import { killCellProcesses } from '../../src/worker/cell-processes.ts';
import { nameOfOwn } from '../../src/worker/owned-folders.ts';
import { Removals } from '../../src/worker/removals.ts';
import { hasProc, isAlive, leaveDaemon } from '../os/support.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { git, pictureOf } from '../support/repository.ts';
import { age, entryPath, HOST, NOTHING, prepare, type Setting, SLEEPERS } from './reaper-setting.ts';

let server: TestRedis;
let setting: Setting;

beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());
beforeEach(async () => {
  setting = await prepare(server);
});

const A = 'fix-a.0000000a';
const B = 'fix-b.0000000b';

describe.skipIf(!hasProc)('a worker that was killed', () => {
  test('leaves nothing: processes, folders, pins, leases and entries go, and its jobs wait again', async () => {
    const jobs = await setting.takeJobs('fix-a', 'fix-b');
    const worker = await setting.startWorker([A, B], jobs);
    await worker.kill();
    expect(worker.processes()).toHaveLength(2 * SLEEPERS);
    const { reaped, faults } = await (await setting.reaper()).run();
    expect(faults).toEqual([]);
    expect(reaped.map(({ name, taskId, jobGivenBack }) => [name, taskId, jobGivenBack])).toEqual(
      expect.arrayContaining([
        [A, 'fix-a', true],
        [B, 'fix-b', true],
      ]),
    );
    for (const { why, removed } of reaped) {
      expect(why).toContain(String(worker.pid));
      expect(removed).toEqual(expect.arrayContaining(['folder', 'base pin', 'registry entry']));
      expect(removed.filter(one => one.startsWith('port '))).toHaveLength(2);
    }
    expect(worker.processes()).toEqual([]);
    expect(await setting.things()).toEqual(NOTHING);
    for (const id of ['fix-a', 'fix-b']) {
      expect(await setting.queue.getJobState(id)).toBe('waiting');
      expect((await setting.queue.getJob(id))?.attemptsMade).toBe(0);
    }
    expect(await (await setting.reaper()).run()).toEqual({ dryRun: false, reaped: [], left: [], faults: [] });
  });

  test('leaves no cell that it made ahead either, given to a task or not; a job of such a task waits again', async () => {
    const { tokens, enqueuedAt } = await setting.takeJobs('fix-a');
    const { registry, record, oldFolder } = setting;
    const ahead = ['warm.0000000a', 'warm.0000000b', 'warm.0000000c'] as const;
    const job = { token: tokens['fix-a'] ?? '', enqueuedAt };
    await registry.register(record(ahead[0], { taskId: null, attempt: 0, stage: 'warm', job: null }));
    await registry.register(record(ahead[1], { taskId: 'fix-a', job }));
    await registry.register(record(ahead[2], { taskId: '../fix', job }));
    for (const id of ahead) oldFolder(id);
    const hooks: (string | null)[] = [];
    const onFailure = async ({ taskId }: CellRecord) => void hooks.push(taskId);
    const { reaped, faults } = await (await setting.reaper({ onFailure })).run();
    expect(faults).toEqual([]);
    expect(reaped.map(({ name, taskId, jobGivenBack }) => [name, taskId, jobGivenBack]).sort()).toEqual([
      [ahead[0], null, false],
      [ahead[1], 'fix-a', true],
      [ahead[2], '../fix', false],
    ]);
    expect(await setting.queue.getJobState('fix-a')).toBe('waiting');
    expect(await setting.things()).toEqual(NOTHING);
  });

  test('is not taken for dead while it lives, and nothing of it is touched', async () => {
    const jobs = await setting.takeJobs('fix-a');
    const worker = await setting.startWorker([A], jobs);
    const before = { ...(await setting.things()), processes: worker.processes() };
    const { reaped, left, faults } = await (await setting.reaper()).run();
    expect({ reaped, faults }).toEqual({ reaped: [], faults: [] });
    expect(left).toEqual([{ kind: 'cell', name: A, why: `its worker lives: process ${worker.pid}` }]);
    expect({ ...(await setting.things()), processes: worker.processes() }).toEqual(before);
    expect(await setting.queue.getJobState('fix-a')).toBe('active');
  });

  test('is cleared up beside a living one, whose cells stay', async () => {
    const dead = await setting.startWorker([A]);
    const living = await setting.startWorker([B]);
    await dead.kill();
    const { reaped } = await (await setting.reaper()).run();
    expect(reaped.map(({ name }) => name)).toEqual([A]);
    expect(dead.processes()).toEqual([]);
    expect(living.processes()).toHaveLength(SLEEPERS);
    expect(await setting.things()).toMatchObject({ folders: [B], leases: [B, B], entries: [B] });
  });

  test('is shown by a dry run, which changes nothing', async () => {
    const worker = await setting.startWorker([A], await setting.takeJobs('fix-a'));
    await worker.kill();
    const before = { ...(await setting.things()), processes: worker.processes(), files: pictureOf(setting.home) };
    const { dryRun, reaped, faults } = await (await setting.reaper()).run({ dryRun: true });
    expect({ dryRun, faults }).toEqual({ dryRun: true, faults: [] });
    expect(reaped).toMatchObject([{ name: A, jobGivenBack: true }]);
    expect(reaped[0]?.removed).toEqual(expect.arrayContaining(['folder', 'base pin', 'registry entry']));
    const after = { ...(await setting.things()), processes: worker.processes(), files: pictureOf(setting.home) };
    expect(after).toEqual(before);
    expect(await setting.queue.getJobState('fix-a')).toBe('active');
  });

  test('is cleared up by two reapers at once as by one', async () => {
    const worker = await setting.startWorker([A, B], await setting.takeJobs('fix-a', 'fix-b'));
    await worker.kill();
    let hooks = 0;
    const onFailure = async () => {
      hooks += 1;
    };
    const reapers = await Promise.all([setting.reaper({ onFailure }), setting.reaper({ onFailure })]);
    const reports = await Promise.all(reapers.map(reaper => reaper.run({ waitMs: 30_000 })));
    expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
    expect(reports.flatMap(({ reaped }) => reaped.map(({ name }) => name)).sort()).toEqual([A, B]);
    expect(hooks).toBe(2);
    expect(worker.processes()).toEqual([]);
    expect(await setting.things()).toEqual(NOTHING);
    expect((await setting.queue.getJobCounts('waiting', 'active')).waiting).toBe(2);
  });

  test('has its failure hook run in the workspace when no process is left, and a hook that fails stops nothing', async () => {
    const worker = await setting.startWorker([A]);
    await worker.kill();
    const seen: unknown[] = [];
    const onFailure = async ({ cellId }: CellRecord) => {
      seen.push(cellId, worker.processes(), existsSync(join(setting.home, 'cells', cellId, 'workspace')));
      throw new Error('the hook is broken');
    };
    const { reaped, faults } = await (await setting.reaper({ onFailure })).run();
    expect(seen).toEqual([A, [], true]);
    expect(faults).toEqual([{ kind: 'cell', name: A, step: 'onFailure hook', message: 'the hook is broken' }]);
    expect(reaped).toHaveLength(1);
    expect(await setting.things()).toEqual(NOTHING);
  });

  test('gets its job back also when its lock has run out and nobody has found it yet', async () => {
    const jobs = await setting.takeJobs('fix-a');
    const worker = await setting.startWorker([A], jobs);
    await worker.kill();
    await setting.redis.del(`${setting.queue.toKey('fix-a')}:lock`);
    const { reaped } = await (await setting.reaper()).run();
    expect(reaped.map(one => one.jobGivenBack)).toEqual([true]);
    expect(await setting.queue.getJobState('fix-a')).toBe('waiting');
    expect(await setting.redis.exists(`${setting.queue.toKey('fix-a')}:lock`)).toBe(0);
    expect(await setting.things()).toEqual(NOTHING);
  });

  test('gets its job back also while another reaper has its turn, which may have died in it', async () => {
    const worker = await setting.startWorker([A], await setting.takeJobs('fix-a'));
    await worker.kill();
    const turn = cellKeys(setting.prefix, HOST).reaper;
    await setting.redis.set(turn, 'of another reaper', 'PX', 60_000);
    const reaper = await setting.reaper();
    expect(await reaper.run()).toMatchObject({ reaped: [], left: [{ kind: 'round' }] });
    expect(await setting.queue.getJobState('fix-a')).toBe('waiting');
    await setting.redis.del(turn);
    expect(await reaper.run()).toMatchObject({ reaped: [{ name: A, jobGivenBack: true }], faults: [] });
    expect(await setting.things()).toEqual(NOTHING);
  });

  test('does not get its job back when another one has it by now, which is no fault', async () => {
    const jobs = await setting.takeJobs('fix-a');
    const worker = await setting.startWorker([A], jobs);
    await worker.kill();
    await setting.redis.set(`${setting.queue.toKey('fix-a')}:lock`, 'of another worker', 'PX', 60_000);
    const { reaped, faults } = await (await setting.reaper()).run();
    expect({ faults, given: reaped.map(one => one.jobGivenBack) }).toEqual({ faults: [], given: [false] });
    expect(await setting.queue.getJobState('fix-a')).toBe('active');
    expect(await setting.things()).toEqual(NOTHING);
  });
});

describe('a cell that its living worker abandoned', () => {
  test('is removed, without its hook, and the job stays with the worker', async () => {
    const { tokens, enqueuedAt } = await setting.takeJobs('fix-a');
    const { reaper, registry, record, oldFolder } = setting;
    const { worker } = await livingWorker();
    const job = { token: tokens['fix-a'] ?? '', enqueuedAt };
    await registry.register(record(A, { worker, job, abandoned: true }));
    oldFolder(A);
    let hooks = 0;
    const onFailure = async () => {
      hooks += 1;
    };
    const { reaped, faults } = await (await reaper({ onFailure })).run();
    expect({ faults, hooks }).toEqual({ faults: [], hooks: 0 });
    expect(reaped).toMatchObject([{ name: A, jobGivenBack: false }]);
    expect(await setting.queue.getJobState('fix-a')).toBe('active');
    expect(await setting.things()).toEqual(NOTHING);
  });
});

/** This process, as a worker. */
async function livingWorker() {
  return { worker: { id: `${HOST}.living`, ...(await ownIdentity()) } };
}

describe('nonsense', () => {
  /** Nothing of this may be touched, whatever names it. */
  function precious() {
    const path = join(setting.home, 'precious');
    mkdirSync(path);
    writeFileSync(join(path, 'file'), 'x');
    return path;
  }

  test('written into Redis by hand harms nothing and is told', async () => {
    const path = precious();
    const { records } = cellKeys(setting.prefix, HOST);
    const { worker } = await livingWorker();
    const put = (id: string, value: unknown) =>
      setting.redis.hset(records, id, typeof value === 'string' ? value : JSON.stringify(value));
    const own = { pid: worker.pid, startTime: worker.startTime };
    await put('../precious', { ...setting.record(A), cellId: '../precious' });
    await put('fix-1.00000001', 'not JSON');
    await put('fix-2.00000002', {
      ...setting.record(A),
      cellId: 'fix-2.00000002',
      server: { pid: -1, startTime: '1' },
    });
    await put('fix-3.00000003', setting.record(A));
    await put('fix-4.00000004', {
      ...setting.record('fix-4.00000004'),
      mirror: path,
      server: { pid: 1, startTime: await startOf(1) },
    });
    await put('fix-5.00000005', {
      ...setting.record('fix-5.00000005'),
      server: own,
      port: { port: 99_999_999, token: '1' },
    });
    await put('fix-6.00000006', {
      ...setting.record('fix-6.00000006'),
      worker: { ...worker, pid: Number.MAX_SAFE_INTEGER },
      server: { pid: Number.MAX_SAFE_INTEGER, startTime: '1' },
    });
    const daemon = leaveDaemon(setting.home, {});
    await put('fix-7.00000007', {
      ...setting.record('fix-7.00000007'),
      server: { pid: daemon, startTime: await startOf(daemon) },
    });
    await setting.takeJobs('fix-8');
    const job = { token: '0', enqueuedAt: (await setting.queue.getJob('fix-8'))?.timestamp ?? 0 };
    await put('fix-8.00000008', { ...setting.record('fix-8.00000008'), job });
    await put('', {});
    const { faults } = await (await setting.reaper()).run();
    expect(faults.map(({ name }) => name).sort()).toEqual(
      ['', '../precious', 'fix-1.00000001', 'fix-2.00000002', 'fix-3.00000003'].sort(),
    );
    expect(readFileSync(join(path, 'file'), 'utf8')).toBe('x');
    expect(isAlive(daemon)).toBe(true);
    expect(await setting.queue.getJobState('fix-8')).toBe('active');
    expect(git(setting.mirror.path, 'rev-parse', '--is-bare-repository')).toBe('true');
  });

  test('of another host or state folder is left alone', async () => {
    const { registry, record } = setting;
    await registry.register(record(A, { host: 'elsewhere' }));
    await registry.register(record(B, { home: '/another/home' }));
    const folders = [setting.oldFolder(A), setting.oldFolder(B)];
    const { reaped, left } = await (await setting.reaper()).run();
    expect(reaped).toEqual([]);
    expect(left.map(({ name, why }) => [name, why])).toEqual([
      [A, 'it is a cell of host elsewhere'],
      [B, 'its state folder is /another/home'],
    ]);
    expect(folders.map(existsSync)).toEqual([true, true]);
  });

  test('written on the disk by hand harms nothing and is told', async () => {
    const path = precious();
    writeFileSync(entryPath(setting, `${A}.json`), '{"half": ');
    writeFileSync(entryPath(setting, '...json'), JSON.stringify({ ...setting.record(A), cellId: '..' }));
    const folder = setting.oldFolder(A);
    const odd = [join(setting.home, 'cells', 'no-cell'), join(setting.home, 'cells', '.hidden')];
    for (const one of odd) mkdirSync(one);
    odd.map(age);
    const { reaped, left, faults } = await (await setting.reaper()).run();
    expect(reaped).toEqual([]);
    expect(faults.map(({ name }) => name).sort()).toEqual(['..', A].sort());
    expect(left.map(({ name }) => name).sort()).toEqual(['cells/.hidden', 'cells/no-cell']);
    expect([path, folder, ...odd].map(existsSync)).toEqual([true, true, true, true]);
  });

  test('a link in place of a cell folder is removed, not what it leads to, nor who works there', async () => {
    const path = precious();
    mkdirSync(join(setting.home, 'cells'), { recursive: true });
    symlinkSync(path, join(setting.home, 'cells', A));
    const daemon = leaveDaemon(path, {});
    await setting.registry.register(setting.record(A));
    expect((await (await setting.reaper()).run()).faults).toEqual([]);
    expect(readFileSync(join(path, 'file'), 'utf8')).toBe('x');
    expect(isAlive(daemon)).toBe(true);
    expect(await setting.things()).toEqual(NOTHING);
  });

  test.skipIf(!hasProc)('a stranger with the pid and the group of a server is left alone', async () => {
    const stranger = leaveDaemon('/', {});
    const server = { pid: stranger, startTime: '1' };
    expect(await killCellProcesses({ cellId: A, home: setting.home, server })).toBe(0);
    expect(isAlive(stranger)).toBe(true);
  });
});

async function startOf(pid: number): Promise<string> {
  return (await readProcess(pid))?.startTime ?? '';
}

describe('what belongs to no registered cell', () => {
  test('is removed when it is old: folders, pins, files of the registry', async () => {
    const commit = git(setting.mirror.path, 'hash-object', '-t', 'tree', '-w', '/dev/null');
    for (const id of [A, B]) git(setting.mirror.path, 'update-ref', `refs/cells/${id}`, commit);
    age(join(setting.mirror.path, 'refs/cells', A));
    setting.oldFolder('fix-c.0000000c');
    mkdirSync(join(setting.home, 'cells', 'young.0000000d'), { recursive: true });
    const [old, young] = [`${A}.json.77.new`, `${B}.json.77.new`].map(name => entryPath(setting, name));
    for (const path of [old, young]) writeFileSync(path ?? '', '');
    age(old ?? '');
    const { reaped, left, faults } = await (await setting.reaper()).run();
    expect(faults).toEqual([]);
    expect(reaped.map(({ kind }) => kind).sort()).toEqual(['folder', 'pin', 'temporary']);
    expect(left.map(({ kind }) => kind).sort()).toEqual(['folder', 'pin', 'temporary']);
    expect(await setting.things()).toMatchObject({ folders: ['young.0000000d'], pins: expect.stringContaining(B) });
    expect(readdirSync(join(setting.home, 'registry'))).toEqual([`${B}.json.77.new`]);
  });

  test('is taken over and removed behind when a dead worker was about to remove it, and left when a living one is', async () => {
    const self = await ownIdentity();
    const discarded = join(setting.home, 'discarded');
    const [dead, living] = [nameOfOwn({ ...self, pid: 2 ** 29 }, A), nameOfOwn(self, B)];
    for (const name of [dead, living]) mkdirSync(join(discarded, name, 'workspace'), { recursive: true });
    let open: () => void = () => undefined;
    const opened = new Promise<void>(resolve => {
      open = resolve;
    });
    const remove = (folder: string) => opened.then(() => removeTree(folder));
    const removals = new Removals({ home: setting.home, owner: self, log: silentLogger, remove });

    const asked = await (await setting.reaper({ removals })).run({ dryRun: true });
    expect(asked.reaped).toMatchObject([{ kind: 'folder', name: `discarded/${dead}`, removed: ['folder'] }]);
    expect(readdirSync(discarded).sort()).toEqual([dead, living].sort());
    // Without anything that removes them they stay.
    expect((await (await setting.reaper()).run()).reaped).toEqual([]);

    const { reaped, left, faults } = await (await setting.reaper({ removals })).run();
    expect({ left, faults }).toEqual({ left: [], faults: [] });
    expect(reaped).toEqual(asked.reaped);
    expect(readdirSync(discarded).sort()).toEqual([nameOfOwn(self, A), living].sort());
    expect(removals.waiting).toBe(1);
    open();
    await removals.settled();
    expect(readdirSync(discarded)).toEqual([living]);
    expect((await (await setting.reaper({ removals })).run()).reaped).toEqual([]);
  });

  test('is left for a later round when many others wait to be removed', async () => {
    const self = await ownIdentity();
    const name = nameOfOwn({ ...self, pid: 2 ** 29 }, A);
    mkdirSync(join(setting.home, 'discarded', name), { recursive: true });
    const removals = new Removals({ home: setting.home, owner: self, log: silentLogger, most: 0 });
    const { reaped, left } = await (await setting.reaper({ removals })).run();
    expect(reaped).toEqual([]);
    expect(left).toMatchObject([{ kind: 'folder', name: `discarded/${name}`, why: expect.stringContaining('wait') }]);
  });

  test.skipIf(!hasProc)('stays while a process works in it', async () => {
    const path = setting.oldFolder(A);
    const daemon = leaveDaemon(path, {});
    const { reaped, left } = await (await setting.reaper()).run();
    expect(reaped).toEqual([]);
    expect(left).toEqual([{ kind: 'folder', name: `cells/${A}`, why: `processes work in it: ${daemon}` }]);
    expect(existsSync(path)).toBe(true);
  });

  test('has its port freed once the lease has expired and nobody listens there', async () => {
    const held = await setting.ports.acquire('nobody', 1);
    const used = await setting.ports.acquire('somebody', 1);
    const fresh = await setting.ports.acquire('another', 60_000);
    const listener = createServer().listen(used?.port, '127.0.0.1');
    onTestFinished(() => new Promise<void>(resolve => listener.close(() => resolve())));
    await new Promise(resolve => listener.once('listening', resolve));
    const { reaped, left } = await (await setting.reaper()).run();
    expect(reaped).toMatchObject([{ kind: 'lease', name: String(held?.port) }]);
    expect(left).toEqual([{ kind: 'lease', name: String(used?.port), why: 'a process uses it' }]);
    expect((await setting.ports.held()).map(({ port }) => port).sort()).toEqual([used?.port, fresh?.port].sort());
  });
});

test('what is removed is counted, once, and a dry run counts nothing', async () => {
  const tally = new Tally(setting.redis, { prefix: setting.prefix });
  const reaper = await setting.reaper({ tally });
  setting.oldFolder(A);
  await reaper.run({ dryRun: true });
  expect((await tally.totals()).reaped.folder).toBe(0);
  await reaper.run();
  await reaper.run();
  expect((await tally.totals()).reaped).toMatchObject({ folder: 1, cell: 0 });
});

test('a tally that cannot be written stops no reaper', async () => {
  const gone = await server.connect('producer');
  gone.disconnect();
  const reaper = await setting.reaper({ tally: new Tally(gone, { prefix: setting.prefix }) });
  setting.oldFolder(A);
  expect((await reaper.run()).reaped).toMatchObject([{ kind: 'folder' }]);
  expect(await setting.things()).toEqual(NOTHING);
});

describe('a cell that cannot be removed', () => {
  test('stays in the registry, report and log say what is not gone, the log with its task', async () => {
    const { registry, record } = setting;
    await registry.register(record(A));
    // As when Redis goes away in the middle.
    class Broken extends PortLeases {
      override held = () => Promise.reject(new Error('Redis is away'));
    }
    const ports = new Broken(setting.redis, { prefix: setting.prefix, host: HOST });
    const lines: unknown[] = [];
    const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    const { faults, left } = await (await setting.reaper({ ports, log })).run();
    expect(lines).toMatchObject([{ msg: 'not reaped', task: 'fix-a', cell: A, step: 'port' }]);
    expect(faults).toEqual([{ kind: 'cell', name: A, step: 'port', message: 'Redis is away' }]);
    expect(left).toMatchObject([{ name: A, why: expect.stringContaining('not yet: port') }]);
    expect((await setting.things()).entries).toEqual([A]);
    expect((await (await setting.reaper()).run()).faults).toEqual([]);
    expect(await setting.things()).toEqual(NOTHING);
  });
});

describe('a slot in the fleet', () => {
  /** The slot of an attempt at the cell's task, by the worker of its record. */
  const slotOf = ({ host, home, worker, taskId, attempt, repository }: CellRecord) => ({
    ...{ host, home, worker, taskId: taskId ?? '', attempt, repository },
  });

  test('is freed with the last of a dead worker’s cell, and not before', async () => {
    const slots = new Slots(setting.redis, { prefix: setting.prefix });
    const record = setting.record(A);
    await setting.registry.register(record);
    await slots.acquire(slotOf(record), null);
    const freed: number[] = [];
    const onFailure = async () => void freed.push((await slots.list()).slots.length);
    const { reaped } = await (await setting.reaper({ onFailure })).run();
    expect(freed).toEqual([1]);
    expect(reaped).toMatchObject([{ kind: 'cell', name: A, removed: ['registry entry', 'slot'] }]);
    expect((await slots.list()).slots).toEqual([]);
  });

  test('is freed of which the dead worker had not made a cell yet; those of the living and of other hosts stay', async () => {
    const slots = new Slots(setting.redis, { prefix: setting.prefix });
    const gone = slotOf(setting.record(A));
    const alive = { ...gone, taskId: 'alive', worker: { id: 'me', ...(await ownIdentity()) } };
    const elsewhere = { ...gone, taskId: 'elsewhere', host: 'another' };
    const other = { ...gone, taskId: 'other-home', home: '/another' };
    for (const one of [gone, alive, elsewhere, other]) await slots.acquire(one, null);
    const names = async () => (await slots.list()).slots.map(({ taskId }) => taskId);
    const before = await names();
    const reaper = await setting.reaper();
    expect((await reaper.run({ dryRun: true })).reaped).toMatchObject([{ kind: 'slot', taskId: 'fix-a' }]);
    expect(await names()).toEqual(before);
    expect((await reaper.run()).reaped).toMatchObject([
      { kind: 'slot', name: 'fix-a of gone', taskId: 'fix-a', removed: ['slot'] },
    ]);
    expect((await names()).sort()).toEqual(['alive', 'elsewhere', 'other-home']);
    expect((await reaper.run()).reaped).toEqual([]);
  });

  test('of a worker that lives, and could not remove a cell, is its own to give back', async () => {
    const slots = new Slots(setting.redis, { prefix: setting.prefix });
    const record = setting.record(A, { abandoned: true, worker: { id: 'me', ...(await ownIdentity()) } });
    await setting.registry.register(record);
    await slots.acquire(slotOf(record), null);
    expect((await (await setting.reaper()).run()).reaped).toMatchObject([{ removed: ['registry entry'] }]);
    expect((await slots.list()).slots).toHaveLength(1);
  });
});
