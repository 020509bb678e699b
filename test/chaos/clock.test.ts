import { afterEach, describe, expect, test } from 'vitest';

interface Clock {
  ms: number;
  until(ms: number): Promise<void>;
  tick(): void;
  stop(): void;
}
interface Plan {
  faults: { atMs: number }[];
  batchesMs: number[];
  tasks: { batch: number }[];
}

const at = (file: string) => new URL(file, import.meta.url).href;
const { PlanClock } = (await import(at('clock.mjs'))) as {
  PlanClock: new (mayReach: () => number, now: () => number) => Clock;
};
const { clockMayReach, makePlan } = (await import(at('plan.mjs'))) as {
  clockMayReach(plan: Plan, part: number): number;
  makePlan(options: { seed: number; tasks: number; workers: number; concurrency: number }): Plan;
};

describe("the clock of a chaos run's plan", () => {
  let now = 0;
  let mayReach = 0;
  const clocks: Clock[] = [];
  afterEach(() => {
    for (const clock of clocks.splice(0)) clock.stop();
  });

  function clockAt(reach: number): Clock {
    now = 0;
    mayReach = reach;
    const clock = new PlanClock(
      () => mayReach,
      () => now,
    );
    clocks.push(clock);
    return clock;
  }

  test('goes like any other while the tasks keep up', () => {
    const clock = clockAt(1_000_000);
    now = 700;
    clock.tick();
    expect(clock.ms).toBe(700);
  });

  test('stands still while the tasks are behind, and does not make up for it at once when they catch up', async () => {
    const clock = clockAt(500);
    const reached: number[] = [];
    const [early, late] = [400, 900].map(ms => clock.until(ms).then(() => void reached.push(ms)));
    now = 60_000;
    clock.tick();
    await early;
    expect([clock.ms, ...reached]).toEqual([500, 400]);
    mayReach = 10_000;
    now += 399;
    clock.tick();
    expect(clock.ms).toBe(899);
    now += 1;
    clock.tick();
    await late;
    expect(reached).toEqual([400, 900]);
  });

  test('lets go of all who wait for it when it is stopped', async () => {
    const clock = clockAt(0);
    const waiting = clock.until(10);
    clock.stop();
    await waiting;
    await clock.until(20);
  });

  test('lets every fault of a plan come before its tasks have ended, and no batch of tasks wait for itself', () => {
    for (const tasks of [24, 60, 300]) {
      const plan = makePlan({ seed: 1, tasks, workers: 3, concurrency: 3 });
      const before = clockMayReach(plan, (tasks - 1) / tasks);
      expect(plan.faults.filter(({ atMs }) => atMs > before)).toEqual([]);
      for (const [batch, atMs] of plan.batchesMs.entries()) {
        const enqueued = plan.tasks.filter(task => task.batch < batch).length;
        expect(clockMayReach(plan, enqueued / tasks)).toBeGreaterThanOrEqual(atMs);
      }
    }
  });
});
