/**
 * Budgets that all workers of all hosts share: what a day may use (a calendar day in UTC), and what the fleet may use
 * since its count was begun; each in tokens, in dollars, or both. What attempts use is counted with or without limits,
 * while they run, and never twice: an attempt tells what it has used in all, and only the difference is added.
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { ADD, RESET, SET, SHOW } from './budget-scripts.ts';
import type { Call } from './chain.ts';
import { budgetKeys, DEFAULT_PREFIX } from './keys.ts';
import { Script } from './script.ts';

/** Longer than any attempt can be silent between two answers of its model; nothing is counted anew before. */
const KEEP_MS = 48 * 3_600_000;
const DAY_MS = 86_400_000;
const MICROS = 1_000_000;

export interface Amounts {
  tokens: number;
  usd: number;
}

export interface Budget {
  used: Amounts;
  /** null: no limit. */
  limit: { [Unit in keyof Amounts]: number | null };
}

export interface BudgetState {
  day: Budget & { /** `2026-05-01`, by the clock of Redis. */ date: string; endsInMs: number };
  fleet: Budget & { /** Epoch ms from which it is counted. */ since: number };
}

/** What is left out stays as it is; null takes a limit away. */
export interface BudgetChanges {
  dayTokens?: number | null | undefined;
  dayUsd?: number | null | undefined;
  fleetTokens?: number | null | undefined;
  fleetUsd?: number | null | undefined;
}

const FIELDS = { dayTokens: 1, dayUsd: MICROS, fleetTokens: 1, fleetUsd: MICROS } as const;

const limit = z.string().transform(text => (text === '' ? null : Number(text)));
const count = z.string().transform(Number);
const replySchema = z.tuple([count, count, count, count, count, count, limit, limit, limit, limit]);

const show = new Script(SHOW);
const add = new Script(ADD);
const set = new Script(SET);
const reset = new Script(RESET);

export class Budgets {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  async show(): Promise<BudgetState> {
    const { keys, args } = this.showing();
    return this.shown(await show.run(this.#redis, keys, args));
  }

  /** How `show` is asked as part of a chain, and what is answered. */
  showing(): Call {
    return { keys: this.#keys(), args: [] };
  }

  shown(reply: unknown): BudgetState {
    return understood(reply);
  }

  /**
   * Counts what an attempt has used so far in all; `number` is the one it began with. To be repeated as it grows.
   * @throws {InvalidInput} for what cannot be a task id
   */
  async add(attempt: { taskId: string; number: string }, { tokens, usd }: Amounts): Promise<BudgetState> {
    const { limits, used, counted } = budgetKeys(this.#prefix, attempt);
    const amounts = [Math.ceil(tokens), Math.round(usd * MICROS)];
    return understood(await add.run(this.#redis, [limits, used, counted], [...amounts, KEEP_MS]));
  }

  async set(changes: BudgetChanges): Promise<BudgetState> {
    const args = Object.entries(FIELDS).flatMap(([name, unit]) => {
      const value = changes[name as keyof BudgetChanges];
      const field = name.replace('Usd', 'Micros');
      return value === undefined ? [] : [field, value === null ? '' : Math.round(value * unit)];
    });
    return understood(await set.run(this.#redis, this.#keys(), args));
  }

  /** Begins to count the fleet's use anew; limits and the day's use stay. */
  async reset(): Promise<BudgetState> {
    return understood(await reset.run(this.#redis, this.#keys(), []));
  }

  #keys(): string[] {
    const { limits, used } = budgetKeys(this.#prefix);
    return [limits, used];
  }
}

function understood(reply: unknown): BudgetState {
  const [now, since, dayTokens, dayMicros, fleetTokens, fleetMicros, ...limits] = replySchema.parse(reply);
  const inUsd = (micros: number | null) => (micros === null ? null : micros / MICROS);
  return {
    day: {
      date: new Date(now).toISOString().slice(0, 10),
      endsInMs: DAY_MS - (now % DAY_MS),
      used: { tokens: dayTokens, usd: dayMicros / MICROS },
      limit: { tokens: limits[0], usd: inUsd(limits[1]) },
    },
    fleet: {
      since,
      used: { tokens: fleetTokens, usd: fleetMicros / MICROS },
      limit: { tokens: limits[2], usd: inUsd(limits[3]) },
    },
  };
}

/** A budget nobody may use more of. */
export interface UsedUp {
  /** In the same words for all tasks that wait for it. */
  reason: string;
  /** null: until somebody raises it. */
  endsInMs: number | null;
}

/** Which of the budgets is used up; null while there is something left of each. */
export function usedUp({ day, fleet }: BudgetState): UsedUp | null {
  const ofFleet = spentLimit(fleet);
  if (ofFleet !== null) {
    const until = 'until it is raised or counted anew (cellpool budget)';
    return { reason: `the fleet's budget of ${ofFleet} is used up: tasks wait ${until}`, endsInMs: null };
  }
  const ofDay = spentLimit(day);
  if (ofDay === null) return null;
  const until = 'until 00:00 UTC, or until it is raised (cellpool budget)';
  return { reason: `the day's budget of ${ofDay} is used up: tasks wait ${until}`, endsInMs: day.endsInMs };
}

function spentLimit({ used, limit }: Budget): string | null {
  if (limit.tokens !== null && used.tokens >= limit.tokens) return `${limit.tokens} tokens`;
  return limit.usd !== null && used.usd >= limit.usd ? `$${limit.usd}` : null;
}
