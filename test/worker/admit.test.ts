import { tmpdir } from 'node:os';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { PROFILES } from '../../src/config.ts';
import { CELL_MEMORY_BYTES } from '../../src/os/memory.ts';
import { Admission, type AdmissionFacts, type AdmissionOptions, decideAdmission } from '../../src/worker/admit.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const BOUND = { timeout: 20_000 };

const someFacts: fc.Arbitrary<AdmissionFacts> = fc
  .record({
    freeMemory: fc.oneof(
      fc.constant(0),
      fc.nat(64 * 1024).map(mib => mib * MIB),
    ),
    freeDisk: fc.oneof(
      fc.constant(0),
      fc.nat(8 * 1024).map(mib => mib * MIB),
    ),
    cap: fc.integer({ min: 1, max: 50 }),
    profile: fc.constantFrom(...PROFILES),
    reserve: fc.record({ memoryMb: fc.nat(4_096), diskMb: fc.nat(4_096) }),
  })
  .chain(facts =>
    fc
      .nat(facts.cap)
      .chain(running => fc.record({ ...asConstants(facts), running: fc.constant(running), spawning: fc.nat(running) })),
  );

function asConstants<T extends Record<string, unknown>>(values: T): { [K in keyof T]: fc.Arbitrary<T[K]> } {
  const entries = Object.entries(values).map(([key, value]) => [key, fc.constant(value)]);
  return Object.fromEntries(entries);
}

describe('the decision', () => {
  test('lies between the cells that run and the cap, and says why when it is not the cap', () => {
    fc.assert(
      fc.property(someFacts, facts => {
        const { cells, why } = decideAdmission(facts);
        expect(Number.isInteger(cells)).toBe(true);
        expect(cells).toBeGreaterThanOrEqual(facts.running);
        expect(cells).toBeLessThanOrEqual(facts.cap);
        expect(why === null).toBe(cells === facts.cap);
      }),
    );
  });

  test('lets nobody in under a reserve', () => {
    fc.assert(
      fc.property(someFacts, facts => {
        const { freeMemory, freeDisk, reserve, running } = facts;
        fc.pre(freeMemory < reserve.memoryMb * MIB || freeDisk < reserve.diskMb * MIB);
        expect(decideAdmission(facts).cells).toBe(running);
      }),
    );
  });

  test('never promises memory twice: all that are let in fit beside the reserve, but for a first one', () => {
    fc.assert(
      fc.property(someFacts, facts => {
        const more = decideAdmission(facts).cells - facts.running;
        fc.pre(more > 1 || (more === 1 && facts.running > 0));
        const { fast, dense } = CELL_MEMORY_BYTES;
        const starting = facts.profile === 'dense' ? dense : fast;
        const taken = facts.spawning * starting + more * (facts.profile === 'fast' ? fast : dense);
        expect(taken).toBeLessThanOrEqual(facts.freeMemory - facts.reserve.memoryMb * MIB);
      }),
    );
  });

  test('is never smaller with more memory, more disk, or fewer cells that still start', () => {
    fc.assert(
      fc.property(someFacts, fc.nat(4 * GIB), (facts, more) => {
        const { cells } = decideAdmission(facts);
        expect(decideAdmission({ ...facts, freeMemory: facts.freeMemory + more }).cells).toBeGreaterThanOrEqual(cells);
        expect(decideAdmission({ ...facts, freeDisk: facts.freeDisk + more }).cells).toBeGreaterThanOrEqual(cells);
        expect(decideAdmission({ ...facts, spawning: 0 }).cells).toBeGreaterThanOrEqual(cells);
      }),
    );
  });

  test('lets one cell in where none runs, as soon as the reserves are kept', () => {
    const facts = { freeMemory: 512 * MIB, freeDisk: GIB, running: 0, spawning: 0, cap: 4, profile: 'fast' } as const;
    expect(decideAdmission({ ...facts, reserve: { memoryMb: 512, diskMb: 1024 } }).cells).toBe(1);
    expect(decideAdmission({ ...facts, reserve: { memoryMb: 513, diskMb: 1024 } })).toEqual({
      cells: 0,
      why: 'memory: 512 MiB free, 513 MiB are kept free',
    });
    expect(decideAdmission({ ...facts, reserve: { memoryMb: 512, diskMb: 1025 } })).toEqual({
      cells: 0,
      why: 'disk: 1024 MiB free, 1025 MiB are kept free',
    });
  });
});

test('a cell that would not fit in as a fast one is let in as a dense one, where the profile allows that', () => {
  const { fast, dense } = CELL_MEMORY_BYTES;
  const facts = { freeDisk: GIB, running: 1, spawning: 0, cap: 9, reserve: { memoryMb: 0, diskMb: 0 } };
  const cells = (freeMemory: number, profile: AdmissionFacts['profile'], spawning = 0) =>
    decideAdmission({ ...facts, freeMemory, profile, spawning }).cells;
  expect([cells(fast - 1, 'fast'), cells(fast - 1, 'auto'), cells(fast - 1, 'dense')]).toEqual([1, 2, 2]);
  // The one that starts may be a fast one.
  expect([cells(fast + dense, 'auto', 1), cells(fast + dense - 1, 'auto', 1)]).toEqual([2, 1]);
  expect(cells(2 * dense, 'dense', 1)).toBe(2);
});

describe('admission', () => {
  async function admit(more: Partial<AdmissionOptions> = {}) {
    const changes: [number, boolean][] = [];
    const problems: string[] = [];
    const admission = await Admission.start({
      folder: tmpdir(),
      cap: 4,
      reserve: { memoryMb: 0, diskMb: 0 },
      profile: 'fast',
      occupancy: () => ({ running: 0, spawning: 0 }),
      onChange: (allowed, why) => changes.push([allowed, why === null]),
      onProblem: message => problems.push(message),
      everyMs: 5,
      ...more,
    });
    onTestFinished(() => admission.close());
    return { admission, changes, problems };
  }

  test('tells of a machine that is too full before it has started, and of the way back', async () => {
    let freeDisk = 0;
    const look = async () => ({ freeMemory: 64 * GIB, freeDisk });
    const { admission, changes } = await admit({ look, reserve: { memoryMb: 0, diskMb: 1 } });
    expect(changes).toEqual([[0, false]]);
    freeDisk = GIB;
    await vi.waitUntil(() => changes.length > 1, BOUND);
    expect(changes).toEqual([
      [0, false],
      [4, true],
    ]);
    expect(admission.allowed).toEqual({ cells: 4, why: null });
  });

  test('tells of another reason for the same number of cells, and not of each other figure in it', async () => {
    let room = { freeMemory: 0, freeDisk: GIB };
    let looks = 0;
    const look = async () => {
      looks += 1;
      return room;
    };
    const whys: (string | null)[] = [];
    const onChange = (_: number, why: string | null) => whys.push(why);
    const reserve = { memoryMb: 100, diskMb: 100 };
    const { admission } = await admit({ look, reserve, onChange });
    room = { freeMemory: MIB, freeDisk: GIB };
    await admission.look();
    room = { freeMemory: MIB, freeDisk: 0 };
    await admission.look();
    expect(whys.map(why => why?.split(':')[0])).toEqual(['memory', 'disk']);
    expect(looks).toBeGreaterThanOrEqual(3);
  });

  test('says nothing as long as nothing changes, and nothing once it is closed', async () => {
    let looks = 0;
    let freeDisk = GIB;
    const look = async () => {
      looks += 1;
      return { freeMemory: 64 * GIB, freeDisk };
    };
    const { admission, changes } = await admit({ look, reserve: { memoryMb: 0, diskMb: 1 } });
    await vi.waitUntil(() => looks > 3, BOUND);
    admission.close();
    freeDisk = 0;
    await admission.look();
    expect(changes).toEqual([]);
  });

  test('reads this machine: a reserve beyond all it has lets nobody in', async () => {
    for (const reserve of [
      { memoryMb: 2 ** 40, diskMb: 0 },
      { memoryMb: 0, diskMb: 2 ** 40 },
    ]) {
      expect((await admit({ reserve })).changes).toEqual([[0, false]]);
    }
  });

  test('keeps the last allowance when it cannot look, and says so', async () => {
    const { admission, changes, problems } = await admit({ folder: '/no/such/folder' });
    expect(problems[0]).toContain('ENOENT');
    expect(changes).toEqual([]);
    expect(admission.allowed.cells).toBe(4);
  });
});
