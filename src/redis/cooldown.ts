/**
 * Cool-downs: when a provider is overloaded or refuses us, all workers of all hosts leave it alone for a while. One
 * of kind `busy` holds for a model (`provider/model`), one of kind `refused` for its whole provider.
 *
 * A cool-down is *running* until its time is over; each further one in a row is twice as long, up to a cap, and never
 * shorter than what the provider itself asked for (`retry-after`, believed up to 1 h). Then it is *half-open*: one
 * asker at a time is let through to try, the others wait a little. A success ends it, another report makes it run
 * again, and 1 h of silence forgets it. All time is Redis's own.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { InvalidInput } from '../errors.ts';
import type { Call } from './chain.ts';
import { ASK, CLEAR, REMOVE, REPORT, RETRY_AFTER_MAX_MS, SHOW, STEPS } from './cooldown-scripts.ts';
import { cooldownKeys, DEFAULT_PREFIX } from './keys.ts';
import { Script } from './script.ts';

/** A reason is for people; providers send whole pages. */
const REASON_MAX = 500;

const kindSchema = z.enum(['busy', 'refused']);
export type CooldownKind = z.infer<typeof kindSchema>;

const shownSchema = z
  .tuple([kindSchema, z.string(), z.coerce.number(), z.coerce.number()])
  .transform(([kind, reason, until, step]) => ({ kind, reason, until, step }));

export interface CooldownAnswer {
  /** 0: go. Also for the one that is let through to try. */
  readonly waitMs: number;
  readonly kind: CooldownKind | null;
  readonly reason: string | null;
}

export interface Cooldown {
  /** `provider/model`, or the provider alone. */
  readonly name: string;
  readonly kind: CooldownKind;
  readonly reason: string;
  /** Epoch ms by the clock of Redis; when it has passed, the cool-down is half-open. */
  readonly until: number;
  /** How many in a row, from 1; 0 is a hiccup. */
  readonly step: number;
}

export interface ProviderTrouble {
  kind: CooldownKind;
  /** What the provider asked for; nonsense counts as nothing. */
  retryAfterMs?: number | undefined;
  reason: string;
  /** Somebody is still waiting for the provider, who may be back in a moment: until then only, and nothing widens. */
  isHiccup?: boolean;
}

const ask = new Script(ASK);
const report = new Script(REPORT);
const clear = new Script(CLEAR);
const show = new Script(SHOW);
const remove = new Script(REMOVE);

export class Cooldowns {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** The client stays the caller's. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#prefix = prefix;
  }

  /**
   * How long to leave `model` (`provider/model`) alone. Ask only when ready to go: 0 may be the one turn to try,
   * which nobody else gets for 60 s unless `clear` or `report` follows. @throws {InvalidInput}
   */
  async ask(model: string): Promise<CooldownAnswer> {
    const { keys, args } = this.asking(model);
    return this.answered(await ask.run(this.#redis, keys, args));
  }

  /** How `ask` is asked as part of a chain, and what is answered. @throws {InvalidInput} */
  asking(model: string): Call {
    return { keys: this.#keysFor(model), args: [randomUUID()] };
  }

  answered(reply: unknown): CooldownAnswer {
    const [waitMs, kind, reason] = reply as [string, string, string];
    const known = kindSchema.safeParse(kind).data ?? null;
    return { waitMs: Number(waitMs), kind: known, reason: known === null ? null : reason };
  }

  /** Enters trouble with `model` (`provider/model`); returns how long all leave it alone. @throws {InvalidInput} */
  async report(
    model: string,
    { kind, retryAfterMs = 0, reason, isHiccup = false }: ProviderTrouble,
  ): Promise<{ waitMs: number }> {
    const name = kind === 'busy' ? checked(model) : providerOf(model);
    const { firstMs, capMs } = STEPS[kind];
    // From a header of somebody else's server.
    const after = retryAfterMs > 0 ? Math.ceil(Math.min(retryAfterMs, RETRY_AFTER_MAX_MS)) : 0;
    const args = [name, kind, firstMs, capMs, after, reason.slice(0, REASON_MAX), isHiccup ? '1' : '0'];
    return { waitMs: Number(await report.run(this.#redis, this.#keysOf(name), args)) };
  }

  /**
   * Says that `model` answered: ends what is half-open. One that is running stays, since the answer may have been
   * on its way when it began. @throws {InvalidInput}
   */
  async clear(model: string): Promise<void> {
    await clear.run(this.#redis, this.#keysFor(model), []);
  }

  /** All cool-downs, running and half-open, by name. */
  async list(): Promise<Cooldown[]> {
    const found: Cooldown[] = [];
    for (const name of await this.#names()) {
      const { data } = shownSchema.safeParse(await show.run(this.#redis, this.#keysOf(name), [name]));
      if (data !== undefined) found.push({ name, ...data });
    }
    return found;
  }

  /**
   * Ends all (or all of one kind), running ones too; returns how many there were. For people who have put things
   * right.
   */
  async clearAll(kind: ProviderTrouble['kind'] | null = null): Promise<number> {
    let removed = 0;
    for (const name of await this.#names()) {
      // Refused is a provider, busy one of its models.
      if (kind !== null && name.includes('/') !== (kind === 'busy')) continue;
      removed += Number(await remove.run(this.#redis, this.#keysOf(name), [name]));
    }
    return removed;
  }

  async #names(): Promise<string[]> {
    return (await this.#redis.smembers(cooldownKeys(this.#prefix).names)).sort();
  }

  #keysFor(model: string): string[] {
    return [providerOf(model), checked(model)].map(name => cooldownKeys(this.#prefix, name).cooldown);
  }

  #keysOf(name: string): string[] {
    const { cooldown, names } = cooldownKeys(this.#prefix, name);
    return [cooldown, names];
  }
}

function checked(model: string): string {
  if (/^[^/\s]+\/\S+$/.test(model)) return model;
  throw new InvalidInput([{ where: 'model', what: `is written provider/model: ${JSON.stringify(model)}` }]);
}

function providerOf(model: string): string {
  return checked(model).slice(0, model.indexOf('/'));
}
