/** What the facts of a pool come to, in figures. */
import { endedWell, OUTCOMES, type Outcome, STAGES, type Stage } from '../../job/outcome.ts';
import type { EndedFacts, HourFacts, PoolFacts } from './facts.ts';

/** Milliseconds. */
export interface Spread {
  /** How many there were to look at. */
  count: number;
  p50: number;
  p95: number;
}

export interface Statistics {
  /** Attempts that came to each outcome in the hours that were looked at. */
  outcomes: Partial<Record<Outcome, number>>;
  attempts: number;
  /** Attempts that ended well of all; null without one. */
  successRate: number | null;
  tokens: number;
  costUsd: number;
  /** Of the last attempts of the tasks that ended last: each stage, and `total` from spawn to the end of teardown. */
  durations: Partial<Record<Stage | 'total', Spread>>;
}

export function statisticsOf({ hours, latest }: Pick<PoolFacts, 'hours' | 'latest'>): Statistics {
  const outcomes: Partial<Record<Outcome, number>> = {};
  for (const outcome of OUTCOMES) {
    const count = sum(hours.map(hour => hour.outcomes[outcome] ?? 0));
    if (count > 0) outcomes[outcome] = count;
  }
  const attempts = attemptsOf({ outcomes });
  const well = sum(OUTCOMES.filter(endedWell).map(outcome => outcomes[outcome] ?? 0));
  return {
    outcomes,
    attempts,
    successRate: attempts === 0 ? null : well / attempts,
    tokens: sum(hours.map(hour => hour.tokens)),
    costUsd: sum(hours.map(hour => hour.costUsd)),
    durations: durationsOf(latest),
  };
}

export function attemptsOf({ outcomes }: Pick<HourFacts, 'outcomes'>): number {
  return sum(Object.values(outcomes));
}

function durationsOf(latest: readonly EndedFacts[]): Statistics['durations'] {
  const results = latest.flatMap(({ result }) => result ?? []);
  const durations: Statistics['durations'] = {};
  for (const stage of STAGES) {
    const spread = spreadOf(
      results.flatMap(({ stages = [] }) => stages.flatMap(one => (one.stage === stage ? one.ms : []))),
    );
    if (spread !== null) durations[stage] = spread;
  }
  // Those without a cell took no time at all, and say nothing.
  const total = spreadOf(results.flatMap(({ metrics }) => (metrics.totalMs > 0 ? metrics.totalMs : [])));
  if (total !== null) durations.total = total;
  return durations;
}

/** By the nearest rank; null of none. */
export function spreadOf(values: readonly number[]): Spread | null {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  const [p50, p95] = [at(0.5), at(0.95)];
  return p50 === undefined || p95 === undefined ? null : { count: sorted.length, p50, p95 };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
