import fc from 'fast-check';
import { expect, test } from 'vitest';
import { spreadOf, statisticsOf } from '../../../src/board/view/statistics.ts';
import { resultOf } from '../../support/jobs.ts';

const hour = { from: 0, outcomes: {}, tokens: 0, costUsd: 0 };

test('attempts, tokens and dollars are added up over the hours, and what ended well is told as a share', () => {
  const hours = [
    { ...hour, outcomes: { committed: 2, reverted: 1 }, tokens: 10, costUsd: 0.25 },
    hour,
    { ...hour, outcomes: { committed: 3, 'no-changes': 1, failed: 1 }, tokens: 5, costUsd: 0.5 },
  ];
  expect(statisticsOf({ hours, latest: [] })).toEqual({
    outcomes: { committed: 5, 'no-changes': 1, reverted: 1, failed: 1 },
    ...{ attempts: 8, successRate: 0.75, tokens: 15, costUsd: 0.75, durations: {} },
  });
});

test('without an attempt there is no share, instead of none or all', () => {
  expect(statisticsOf({ hours: [hour], latest: [] })).toMatchObject({ attempts: 0, successRate: null });
});

test('durations are those of the last attempts that had a cell', () => {
  const latest = [100, 200, 300, 0].map((totalMs, index) => ({
    ...{ taskId: `t-${index}`, title: null, repository: '/r', endedAt: 1, failed: false },
    result: {
      ...resultOf(`t-${index}`, 'committed'),
      metrics: { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs },
      stages: totalMs === 0 ? [] : [{ stage: 'test' as const, startedAt: 0, ms: totalMs / 2 }],
    },
  }));
  const { durations } = statisticsOf({ hours: [], latest: [...latest, { ...latest[0], result: null } as never] });
  expect(durations).toEqual({ test: { count: 3, p50: 100, p95: 150 }, total: { count: 3, p50: 200, p95: 300 } });
});

test('half of the values are at most p50 and 19 in 20 at most p95, and both are among the values', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { minLength: 1 }), values => {
      const spread = spreadOf(values);
      if (spread === null) throw new Error('no spread');
      const upTo = (most: number) => values.filter(value => value <= most).length;
      expect(values).toContain(spread.p50);
      expect(values).toContain(spread.p95);
      expect(upTo(spread.p50)).toBeGreaterThanOrEqual(values.length * 0.5);
      expect(upTo(spread.p95)).toBeGreaterThanOrEqual(values.length * 0.95);
      expect(values.filter(value => value < spread.p50).length).toBeLessThanOrEqual(values.length * 0.5);
    }),
  );
  expect(spreadOf([])).toBeNull();
});
