/** Life or death of a cell's worker: what is called dead is killed and removed, so it must be proven. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { judge, type LifeFacts, SILENCE_MS } from '../../src/worker/is-dead.ts';

const record: CellRecord = {
  version: 1,
  cellId: 'fix-1.0123abcd',
  host: 'here',
  home: '/state',
  worker: { id: 'here.1', pid: 4_711, startTime: '100', bootId: 'boot-1', pidNamespace: 'pid:[1]' },
  taskId: 'fix-1',
  attempt: 1,
  job: null,
  repository: '/repository',
  mirror: '/state/mirrors/x',
  artifacts: '/state/artifacts',
  workspace: '/workspace',
  isolation: 'process',
  port: null,
  server: null,
  stage: 'spawn',
  abandoned: false,
  createdAt: 0,
};

const facts: LifeFacts = {
  host: 'here',
  home: '/state',
  bootId: 'boot-1',
  pidNamespace: 'pid:[1]',
  holder: { startTime: '100', zombie: false },
  beatAgeMs: 1_000,
  recordAgeMs: 5_000,
};

type Changes = {
  worker?: Partial<CellRecord['worker']>;
  record?: Partial<CellRecord>;
  facts?: Partial<LifeFacts>;
};

const judged = (changes: Changes) =>
  judge(
    { ...record, ...changes.record, worker: { ...record.worker, ...changes.worker } },
    { ...facts, ...changes.facts },
  );

const NO_PROC = { worker: { startTime: '', bootId: '', pidNamespace: '' }, facts: { bootId: '', pidNamespace: '' } };
const SILENT = SILENCE_MS + 1;

describe('the worker of a cell', () => {
  test.each<[string, Changes, string]>([
    ['that runs is alive', {}, 'live'],
    ['that runs is alive however long it has been silent', { facts: { beatAgeMs: 10 * SILENT } }, 'live'],
    ['of another host is not ours', { record: { host: 'there' }, facts: { holder: null } }, 'not-ours'],
    ['of another state folder is not ours', { record: { home: '/other' }, facts: { holder: null } }, 'not-ours'],
    ['of another boot is dead, whoever has its pid', { facts: { bootId: 'boot-2' } }, 'dead'],
    ['without a process is dead', { facts: { holder: null } }, 'dead'],
    ['whose pid another process has is dead', { facts: { holder: { startTime: '101', zombie: false } } }, 'dead'],
    ['that is a zombie is dead', { facts: { holder: { startTime: '100', zombie: true } } }, 'dead'],
    [
      'whose pid somebody has of whom we know no more is alive',
      { facts: { holder: { startTime: '', zombie: false } } },
      'live',
    ],
    ['that abandoned the cell is as good as dead for it', { record: { abandoned: true } }, 'dead'],
    [
      'of another pid namespace is alive while it is heard of',
      { facts: { pidNamespace: 'pid:[2]', holder: null } },
      'live',
    ],
    [
      'of another pid namespace is dead after ten silent minutes',
      { facts: { pidNamespace: 'pid:[2]', beatAgeMs: SILENT } },
      'dead',
    ],
    [
      'of another pid namespace that was never heard of is alive while its record is young',
      { facts: { pidNamespace: 'pid:[2]', holder: null, beatAgeMs: null } },
      'live',
    ],
    [
      'of another pid namespace that was never heard of is dead once its record is old',
      { facts: { pidNamespace: 'pid:[2]', beatAgeMs: null, recordAgeMs: SILENT } },
      'dead',
    ],
    [
      'of another pid namespace that abandoned the cell clears it up itself',
      { record: { abandoned: true }, facts: { pidNamespace: 'pid:[2]', holder: null } },
      'live',
    ],
    [
      'whose namespace nobody could read is alive',
      { worker: { pidNamespace: '' }, facts: { pidNamespace: '', holder: null } },
      'live',
    ],
    [
      'without /proc is alive while its pid is taken',
      { ...NO_PROC, facts: { ...NO_PROC.facts, holder: { startTime: '', zombie: false } } },
      'live',
    ],
    [
      'without /proc is dead when nobody has its pid',
      { ...NO_PROC, facts: { ...NO_PROC.facts, holder: null } },
      'dead',
    ],
  ])('%s', (_, changes, verdict) => {
    expect(judged(changes).verdict).toBe(verdict);
  });

  test('that abandoned a cell is told from one that is gone, for it goes on with the job', () => {
    expect(judged({ record: { abandoned: true } }).workerLives).toBe(true);
    expect(judged({ record: { abandoned: true }, facts: { holder: null } }).workerLives).toBe(false);
  });
});

const text = fc.constantFrom('', 'a', 'b', '100');
const age = fc.oneof(fc.constant(null), fc.double({ noNaN: true }), fc.constantFrom(0, SILENCE_MS, SILENT));
const anyRecord = fc
  .record({
    host: fc.constantFrom('here', 'there'),
    home: fc.constantFrom('/state', '/other'),
    abandoned: fc.boolean(),
    worker: fc.record({
      id: fc.constant('w'),
      pid: fc.integer({ min: 1 }),
      startTime: text,
      bootId: text,
      pidNamespace: text,
    }),
  })
  .map(changes => ({ ...record, ...changes }));
const anyFacts = fc.record({
  host: fc.constantFrom('here', 'there'),
  home: fc.constantFrom('/state', '/other'),
  bootId: text,
  pidNamespace: text,
  holder: fc.option(fc.record({ startTime: text, zombie: fc.boolean() })),
  beatAgeMs: age,
  recordAgeMs: fc.double({ noNaN: true }),
});

describe('whatever record and facts say', () => {
  test('a process of the same pid, start time, boot and namespace is never dead, unless it abandoned the cell', () => {
    fc.assert(
      fc.property(
        anyRecord,
        anyFacts,
        fc.constantFrom('a', 'b'),
        fc.constantFrom('a', 'b'),
        (one, seen, boot, space) => {
          const worker = { ...one.worker, startTime: '100', bootId: boot, pidNamespace: space };
          const alive = { ...seen, bootId: boot, pidNamespace: space, holder: { startTime: '100', zombie: false } };
          const { verdict, workerLives } = judge({ ...one, worker }, alive);
          expect(workerLives).toBe(true);
          if (!one.abandoned) expect(verdict).not.toBe('dead');
        },
      ),
    );
  });

  test('a cell of another host or state folder is never ours to touch', () => {
    fc.assert(
      fc.property(anyRecord, anyFacts, (one, seen) => {
        fc.pre(one.host !== seen.host || one.home !== seen.home);
        expect(judge(one, seen).verdict).toBe('not-ours');
      }),
    );
  });

  test('where a pid proves nothing, only another boot or ten silent minutes do', () => {
    fc.assert(
      fc.property(anyRecord, anyFacts, (one, seen) => {
        fc.pre(one.worker.pidNamespace !== seen.pidNamespace);
        const newBoot = one.worker.bootId !== '' && seen.bootId !== '' && one.worker.bootId !== seen.bootId;
        const silent = (seen.beatAgeMs ?? seen.recordAgeMs) > SILENCE_MS;
        if (judge(one, seen).verdict === 'dead') expect(newBoot || silent).toBe(true);
      }),
    );
  });

  test('without a start time or a boot id on both sides, a pid that somebody has proves no death', () => {
    fc.assert(
      fc.property(anyRecord, anyFacts, (one, seen) => {
        fc.pre(seen.holder !== null && !one.abandoned && one.worker.pidNamespace === seen.pidNamespace);
        fc.pre(one.worker.bootId === '' || seen.bootId === '');
        fc.pre((seen.beatAgeMs ?? seen.recordAgeMs) <= SILENCE_MS);
        expect(judge(one, seen).verdict).not.toBe('dead');
      }),
    );
  });
});
