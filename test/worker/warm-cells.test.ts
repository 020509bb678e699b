/**
 * When cells are made ahead, and when they go. The spawner is a stand-in: a real cell takes seconds and half a
 * gigabyte, and what is to be seen here is only what is asked of it. Real ones are in warm-pool.test.ts.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { AgentSpawner } from '../../src/cell/agent-spawner.ts';
import { markOf } from '../../src/cell/cell-kind.ts';
import { checkAgentKind } from '../../src/cell/spawn-config.ts';
import type { PreparedAgent } from '../../src/cell/spawned-agent.ts';
import type { TaskJob } from '../../src/job/job.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { CELL_MEMORY_BYTES } from '../../src/os/memory.ts';
import type { PooledSpawner } from '../../src/worker/spawner-pool.ts';
import { WarmCells } from '../../src/worker/warm-cells.ts';
import { BOUND } from '../support/bound.ts';
import { jobOf } from '../support/jobs.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

type Made = PreparedAgent & { branch: string };

function setting(warm: number) {
  let cells: Made[] = [];
  let count = 0;
  const asked: string[] = [];
  const facts = {
    line: [] as TaskJob[],
    room: { freeMemory: 20 * GIB, freeDisk: 100 * GIB },
    occupancy: { running: 0, spawning: 0 },
    /** What making one waits for. */
    until: Promise.resolve() as Promise<unknown>,
    looks: 0,
    /** How often jobs were read. */
    reads: 0,
    isCurrent: true,
    /** What Redis waits for. */
    redis: Promise.resolve() as Promise<unknown>,
  };
  const spawner: Pick<AgentSpawner, 'prepared' | 'prepareAgent' | 'discardPrepared'> = {
    get prepared() {
      return cells;
    },
    async prepareAgent(like = {}, signal) {
      const kind = checkAgentKind(like);
      asked.push(kind.branch);
      await Promise.race([
        facts.until,
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
      ]);
      count += 1;
      const made = { cellId: `warm.${count}`, mark: markOf(kind), createdAt: new Date(), isSound: true };
      cells = [...cells, { ...made, branch: kind.branch }];
    },
    async discardPrepared(id) {
      cells = cells.filter(({ cellId }) => cellId !== id);
    },
  };
  const pooled = { spawner } as PooledSpawner;
  const warmCells = new WarmCells({
    settings: { warm, labels: [], reserve: { memoryMb: 1024, diskMb: 1024 }, home: '/nowhere', profile: 'auto' },
    queue: {
      async getWaiting() {
        facts.reads += 1;
        await facts.redis;
        return facts.line.map(data => ({ data })) as never;
      },
      getPrioritized: async () => [],
    },
    spawners: {
      of: async repository => {
        if (repository === '/missing') throw new Error('no such repository');
        return pooled;
      },
      get opened() {
        return [{ repository: '/repo', spawner: spawner as AgentSpawner, isCurrent: facts.isCurrent }];
      },
    },
    occupancy: () => facts.occupancy,
    async room() {
      facts.looks += 1;
      return facts.room;
    },
    log: silentLogger,
    everyMs: 2,
  });
  onTestFinished(() => warmCells.end());
  return {
    ...{ warmCells, facts, asked },
    branches: () => cells.map(({ branch }) => branch),
    /** As a task does. */
    take: () => {
      cells = cells.slice(1);
    },
    change: (more: Partial<Made>) => {
      cells = cells.map((one, at) => (at === 0 ? { ...one, ...more } : one));
    },
    until: (done: () => boolean) => vi.waitUntil(done, BOUND),
    /** Some rounds in which nothing may have been asked for. */
    async rounds(): Promise<void> {
      const { looks } = facts;
      await vi.waitUntil(() => facts.looks >= looks + 5, BOUND);
    },
  };
}

const on = (base: string) => jobOf(`on-${base}`, { base });

describe('cells are made ahead', () => {
  test('for the next in line, one at a time, as many as are to be kept, and again when one was taken', async () => {
    const { warmCells, facts, asked, branches, take, until, rounds } = setting(2);
    facts.line = [on('a'), on('b'), on('c')];
    let made: () => void = () => undefined;
    facts.until = new Promise<void>(resolve => {
      made = resolve;
    });
    warmCells.begin();
    await until(() => asked.length === 1);
    await rounds();
    expect([asked, warmCells.making]).toEqual([['a'], 1]);
    made();
    await until(() => branches().length === 2);
    await rounds();
    expect([asked, warmCells.making]).toEqual([['a', 'b'], 0]);
    facts.line = [on('b'), on('c')];
    take();
    await until(() => branches().join() === 'b,c');
  });

  test('for what was worked on last while nothing waits', async () => {
    const { warmCells, branches, until } = setting(2);
    warmCells.begin();
    warmCells.note(on('other'), 'a');
    warmCells.note(on('a'), 'cellpool/one');
    warmCells.note(on('b'), 'b');
    await until(() => [...branches()].sort().join() === 'a,b');
  });

  test('in the place of those that nobody waits for any more', async () => {
    const { warmCells, facts, branches, until } = setting(1);
    facts.line = [on('a')];
    warmCells.begin();
    await until(() => branches().join() === 'a');
    facts.line = [on('b')];
    await until(() => branches().join() === 'b');
  });

  test('not while a cell is being spawned, nor right after one was made while others work', async () => {
    const { warmCells, facts, asked, branches, until, rounds } = setting(2);
    facts.line = [on('a'), on('b')];
    facts.occupancy = { running: 1, spawning: 1 };
    warmCells.begin();
    await rounds();
    expect(asked).toEqual([]);
    facts.occupancy = { running: 1, spawning: 0 };
    // As long as it took it rests.
    let made: () => void = () => undefined;
    facts.until = new Promise<void>(resolve => {
      made = resolve;
    });
    await until(() => asked.length === 1);
    const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 60_000);
    onTestFinished(() => now.mockRestore());
    made();
    await until(() => branches().length === 1);
    await rounds();
    expect(asked).toEqual(['a']);
    now.mockReturnValue(Date.now() + 120_000);
    await until(() => branches().join() === 'a,b');
  });

  test('only while there is room for two more beside it', async () => {
    const { warmCells, facts, asked, rounds } = setting(1);
    facts.line = [on('a')];
    facts.room = { freeMemory: 1024 * MIB + 3 * CELL_MEMORY_BYTES.fast - 1, freeDisk: 100 * GIB };
    warmCells.begin();
    await rounds();
    // Nothing can come of it, so no job is read.
    expect([asked, facts.reads]).toEqual([[], 0]);
  });

  test('with few looks at the line once all are there, since each reads whole jobs', async () => {
    const { warmCells, facts, branches, until, rounds } = setting(1);
    facts.line = [on('a')];
    warmCells.begin();
    await until(() => branches().length === 1);
    const before = { looks: facts.looks, reads: facts.reads };
    for (let time = 0; time < 4; time += 1) await rounds();
    const [looks, reads] = [facts.looks - before.looks, facts.reads - before.reads];
    expect(reads).toBeGreaterThan(0);
    expect(reads).toBeLessThanOrEqual(Math.ceil(looks / 5));
  });

  test('not again for a while where that failed, and others all the same', async () => {
    const { warmCells, facts, branches, until, rounds, asked } = setting(2);
    facts.line = [jobOf('gone', {}, '/missing'), on('b')];
    warmCells.begin();
    await until(() => branches().join() === 'b');
    await rounds();
    expect(asked).toEqual(['b']);
  });

  test('at the cost of none that is good: what cannot be made takes no other one’s place, not even when its time is over', async () => {
    const { warmCells, facts, branches, until, rounds } = setting(1);
    facts.line = [jobOf('gone', {}, '/missing'), on('b')];
    warmCells.begin();
    await until(() => branches().join() === 'b');
    const now = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 59_000);
    onTestFinished(() => now.mockRestore());
    await rounds();
    expect(branches()).toEqual(['b']);
    // It is tried again, and b is among those that are asked for soon.
    now.mockReturnValue(Date.now() + 30_000);
    await rounds();
    expect(branches()).toEqual(['b']);
  });

  test('not at all without a number of them', async () => {
    const { warmCells, facts, asked } = setting(0);
    facts.line = [on('a')];
    warmCells.begin();
    await warmCells.end();
    expect([asked, facts.looks]).toEqual([[], 0]);
  });
});

describe('cells made ahead are removed', () => {
  test('one by one while memory or disk is scarce, and made again after that', async () => {
    const { warmCells, facts, branches, until } = setting(2);
    facts.line = [on('a'), on('b')];
    warmCells.begin();
    await until(() => branches().length === 2);
    for (const scarce of [{ freeMemory: 1024 * MIB + CELL_MEMORY_BYTES.dense - 1 }, { freeDisk: 1023 * MIB }]) {
      const { room } = facts;
      facts.room = { ...room, ...scarce };
      await until(() => branches().length === 0);
      facts.room = room;
      await until(() => branches().length === 2);
    }
  });

  test('when something happened to them, and when they are an hour old', async () => {
    const { warmCells, facts, asked, change, branches, until } = setting(1);
    facts.line = [on('a')];
    warmCells.begin();
    await until(() => branches().length === 1);
    change({ isSound: false });
    await until(() => asked.length === 2 && branches().length === 1);
    change({ createdAt: new Date(Date.now() - 61 * 60_000) });
    await until(() => asked.length === 3 && branches().length === 1);
    // The repository was away, and is another spawner's by now.
    facts.isCurrent = false;
    await until(() => asked.length > 3);
    facts.isCurrent = true;
  });

  test('all of them at the end, also while Redis says nothing', async () => {
    const { warmCells, facts, branches, until } = setting(1);
    facts.line = [on('a')];
    warmCells.begin();
    await until(() => branches().length === 1);
    facts.redis = new Promise(() => undefined);
    const { looks } = facts;
    await until(() => facts.looks > looks);
    await warmCells.end();
    expect(branches()).toEqual([]);
  });

  test('all of them at the end, with the one that is being made, and none is made after that', async () => {
    const { warmCells, facts, asked, branches, until } = setting(2);
    facts.line = [on('a')];
    warmCells.begin();
    await until(() => branches().length === 1);
    facts.until = new Promise(() => undefined);
    facts.line = [on('a'), on('b')];
    await until(() => asked.length === 2);
    await Promise.all([warmCells.end(), warmCells.end()]);
    expect([branches(), warmCells.making, asked.length]).toEqual([[], 0, 2]);
  });
});
