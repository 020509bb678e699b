import { tmpdir } from 'node:os';
import { expect, onTestFinished, test, vi } from 'vitest';
import { silentLogger } from '../../src/observe/logger.ts';
import { Gate, type GateRounds } from '../../src/worker/gate.ts';
import { BOUND } from '../support/bound.ts';

/** BullMQ's worker as far as the gate uses it: what it does with jobs is tested with real ones elsewhere. */
function fakeWorker() {
  const told: string[] = [];
  let paused = false;
  return {
    told,
    set concurrency(cells: number) {
      told.push(`concurrency ${cells}`);
    },
    get concurrency() {
      return 0;
    },
    async pause() {
      paused = true;
      told.push('pause');
    },
    async resume() {
      paused = false;
      told.push('resume');
    },
    isPaused: () => paused,
  };
}

function open(look: GateRounds['look'] = async () => undefined, reserve = { memoryMb: 0, diskMb: 0 }) {
  const worker = fakeWorker();
  const held: (string | null)[] = [];
  const gate = new Gate({ worker, cap: 4, log: silentLogger, onHeld: why => held.push(why) });
  onTestFinished(() => gate.close());
  const rounds: GateRounds = {
    folder: tmpdir(),
    reserve,
    profile: 'fast',
    occupancy: () => ({ running: 0, spawning: 0 }),
    look,
  };
  return { worker, held, gate, opened: () => gate.open(rounds) };
}

test('no more jobs are taken than the fleet leaves, none where it leaves none, and never more than the cap', async () => {
  const { worker, held, gate, opened } = open();
  await opened();
  worker.told.length = 0;
  gate.share({ cells: 2, why: null });
  expect(gate.allowed).toBe(2);
  gate.share({ cells: 0, why: 'the fleet is full' });
  expect(gate.allowed).toBe(0);
  gate.share({ cells: 1, why: null });
  gate.share({ cells: Number.POSITIVE_INFINITY, why: null });
  expect(gate.allowed).toBe(4);
  expect(worker.told).toEqual(['concurrency 2', 'pause', 'concurrency 1', 'resume', 'concurrency 4']);
  expect(held).toEqual(['the fleet is full', null]);
});

test('a machine that is full is told once, however the fleet changes meanwhile', async () => {
  const { held, gate, opened } = open(undefined, { memoryMb: 2 ** 40, diskMb: 0 });
  await opened();
  for (const cells of [0, 1, 0, 1]) gate.share({ cells, why: cells === 0 ? 'the fleet is full' : null });
  expect(held).toEqual([expect.stringMatching(/^memory: /)]);
});

test('another reason for which none are taken is told, and the same one once', async () => {
  const { worker, held, gate, opened } = open();
  await opened();
  worker.told.length = 0;
  for (const why of ['Redis was started anew', 'the fleet is full', 'the fleet is full']) gate.share({ cells: 0, why });
  expect(held).toEqual(['Redis was started anew', 'the fleet is full']);
  gate.share({ cells: 4, why: null });
  gate.share({ cells: 4, why: null });
  expect(held.at(-1)).toBeNull();
  expect(held).toHaveLength(3);
  expect(worker.told).toEqual(['pause', 'concurrency 4', 'resume']);
});

test('what is asked for while a look is under way is looked at once more, and once only', async () => {
  let looks = 0;
  let goOn: () => void = () => undefined;
  const { gate, opened } = open(async () => {
    looks += 1;
    if (looks === 2) await new Promise<void>(resolve => (goOn = resolve));
  });
  await opened();
  expect(looks).toBe(1);
  const first = gate.look();
  await vi.waitUntil(() => looks === 2, BOUND);
  for (let index = 0; index < 10; index += 1) void gate.look();
  expect(looks).toBe(2);
  goOn();
  await first;
  expect(looks).toBe(3);
});

test('a fleet that cannot be asked changes nothing, and is asked again', async () => {
  let looks = 0;
  const { gate, opened } = open(async () => {
    looks += 1;
    if (looks > 1) throw new Error('Redis is away');
  });
  await opened();
  gate.share({ cells: 3, why: null });
  await gate.look();
  await gate.look();
  expect(looks).toBe(3);
  expect(gate.allowed).toBe(3);
});

test('one that cannot be asked at the start is an error', async () => {
  const { opened } = open(async () => {
    throw new Error('Redis is away');
  });
  await expect(opened()).rejects.toThrow('Redis is away');
});

test('nothing changes once it is closed', async () => {
  const { worker, gate, opened } = open();
  await opened();
  worker.told.length = 0;
  gate.close();
  gate.share({ cells: 0, why: 'the fleet is full' });
  expect(worker.told).toEqual([]);
});
