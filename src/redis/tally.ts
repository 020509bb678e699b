/**
 * The tally: what all workers of all hosts have done, counted in Redis since the first attempt and by the hour, for
 * pages and metrics. Nothing is decided by it, so it may be a little behind the truth but never in the way of a task.
 *
 * What is counted under one name is counted once, however often it is sent. Numbers of attempts and tokens can only be
 * too low, by what nobody was left to count.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { FATES, type Fate } from '../job/fate.ts';
import { type AttemptResult, OUTCOMES, type Outcome, STAGES } from '../job/outcome.ts';
import { DEFAULT_PREFIX, type TallyKeys, tallyKeys } from './keys.ts';
import { Script } from './script.ts';
import { ADD, HOURS, TOTALS } from './tally-scripts.ts';

const MICROS = 1_000_000;
const HOUR_MS = 3_600_000;
/** A page shows a week; the hour that has just begun is one more. */
const KEEP_HOURS = 8 * 24;
/** A job whose worker died is taken up within seconds, and after an outage of Redis, within the day. */
const KEEP_COUNTED_MS = 48 * HOUR_MS;

/** Upper ends of the buckets of all durations, in milliseconds; what took longer is in one more. */
export const BUCKETS_MS = [
  50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
  7_200_000,
] as const;

/** The stages of a cell, and all of its life. */
export const MEASURED = [...STAGES, 'total'] as const;
export type Measured = (typeof MEASURED)[number];

/** What dead workers leave behind; see `worker/reap-report.ts`. */
export const REAPED = ['cell', 'lease', 'slot', 'folder', 'group', 'pin', 'temporary'] as const;
export type ReapedKind = (typeof REAPED)[number];

export interface Durations {
  /** How many fell into each bucket of `BUCKETS_MS`, and, last, how many took longer. */
  counts: number[];
  sumMs: number;
}

export interface Hour {
  /** Epoch ms at which it began. */
  from: number;
  outcomes: Partial<Record<Outcome, number>>;
  tokens: number;
  costUsd: number;
}

export interface Totals {
  /** Epoch ms of the first thing that was counted; null before. */
  since: number | null;
  /** All of them, also those that never happened. */
  outcomes: Record<Outcome, number>;
  tokens: number;
  /** As far as the prices were known. */
  costUsd: number;
  durations: Record<Measured, Durations>;
  reaped: Record<ReapedKind, number>;
  /** Finished branches that were to land, by what became of them. */
  landings: Record<Fate['kind'], number>;
}

const add = new Script(ADD);
const hours = new Script(HOURS);
const totals = new Script(TOTALS);

export class Tally {
  readonly #redis: Redis;
  readonly #keys: TallyKeys;

  /** The client stays the caller's. Throws `InvalidInput` for a bad prefix. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#keys = tallyKeys(prefix);
  }

  /**
   * Counts an attempt that has ended, in one command, so before whatever is sent next on the same connection. What is
   * given the same `name` within two days is counted once. @throws the error of Redis
   */
  async add(result: AttemptResult, name: string = randomUUID()): Promise<void> {
    const ofHour: [string, number][] = [
      [`outcome:${result.outcome}`, 1],
      ['tokens', whole(result.tokensUsed)],
      ['micros', whole((result.costUsd ?? 0) * MICROS)],
    ];
    const took = (result.stages ?? []).map(({ stage, ms }): [Measured, number] => [stage, ms]);
    if (took.length > 0) took.push(['total', result.metrics.totalMs]);
    await this.#add(name, ofHour, took.flatMap(fieldsOfDuration));
  }

  /** Counts leftovers of dead workers that were removed. @throws the error of Redis */
  async addReaped(kinds: readonly ReapedKind[], name: string = randomUUID()): Promise<void> {
    if (kinds.length === 0) return;
    const counts = REAPED.map((kind): [string, number] => [`reaped:${kind}`, kinds.filter(one => one === kind).length]);
    await this.#add(name, [], counts);
  }

  /** Counts what became of a branch that was to land; its landing job's id is a good `name`. @throws the error of Redis */
  async addLanding(fate: Fate['kind'], name: string = randomUUID()): Promise<void> {
    // An attempt may be counted under the same name.
    await this.#add(`landing ${name}`, [], [[`landing:${fate}`, 1]]);
  }

  /** The last hours, the one of now included, oldest first; those without an attempt too. At most 192 are kept. */
  async hours(count: number): Promise<Hour[]> {
    const wanted = Math.min(KEEP_HOURS, Math.max(1, Math.floor(count)));
    const reply = (await hours.run(this.#redis, [this.#keys.hours], [wanted])) as [string, string[]][];
    return reply.map(([number, fields]) => {
      const found = fieldsOf(fields);
      const outcomes = OUTCOMES.map(outcome => [outcome, found(`outcome:${outcome}`)] as const);
      return {
        from: Number(number) * HOUR_MS,
        outcomes: Object.fromEntries(outcomes.filter(([, times]) => times > 0)),
        tokens: found('tokens'),
        costUsd: found('micros') / MICROS,
      };
    });
  }

  /** All that was counted since the first time. */
  async totals(): Promise<Totals> {
    const found = fieldsOf((await totals.run(this.#redis, [this.#keys.totals], [])) as string[]);
    const since = found('since');
    return {
      since: since === 0 ? null : since,
      outcomes: byName(OUTCOMES, outcome => found(`outcome:${outcome}`)),
      tokens: found('tokens'),
      costUsd: found('micros') / MICROS,
      durations: byName(MEASURED, stage => ({
        counts: [...BUCKETS_MS.keys(), BUCKETS_MS.length].map(bucket => found(`${stage}:${bucket}`)),
        sumMs: found(`${stage}:ms`),
      })),
      reaped: byName(REAPED, kind => found(`reaped:${kind}`)),
      landings: byName(FATES, fate => found(`landing:${fate}`)),
    };
  }

  async #add(name: string, ofHour: [string, number][], others: [string, number][]): Promise<void> {
    // A name may hold anything and be of any length.
    const counted = `${this.#keys.counted}${createHash('sha256').update(name).digest('base64url').slice(0, 22)}`;
    const fields = [...ofHour.filter(([, by]) => by > 0)];
    const args = [...fields, ...others.filter(([, by]) => by > 0)].flat();
    const keys = [this.#keys.totals, counted, this.#keys.hours];
    await add.runWhole(this.#redis, keys, [KEEP_COUNTED_MS, KEEP_HOURS * HOUR_MS, fields.length, ...args]);
  }
}

function fieldsOfDuration([stage, ms]: [Measured, number]): [string, number][] {
  const bucket = BUCKETS_MS.findIndex(end => ms <= end);
  return [
    [`${stage}:${bucket === -1 ? BUCKETS_MS.length : bucket}`, 1],
    [`${stage}:ms`, whole(ms)],
  ];
}

/** What Redis can count with. */
function whole(value: number): number {
  return Number.isFinite(value) ? Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(value))) : 0;
}

/** Anybody may write to a shared Redis: what is no whole number counts as none. */
function fieldsOf(fields: readonly string[]): (name: string) => number {
  const found = new Map<string, string>();
  for (let at = 0; at + 1 < fields.length; at += 2) found.set(fields[at] ?? '', fields[at + 1] ?? '');
  return name => {
    const text = found.get(name) ?? '';
    return /^\d{1,15}$/.test(text) ? Number(text) : 0;
  };
}

function byName<Name extends string, Value>(names: readonly Name[], count: (name: Name) => Value): Record<Name, Value> {
  return Object.fromEntries(names.map(name => [name, count(name)])) as Record<Name, Value>;
}
