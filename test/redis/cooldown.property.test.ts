/** Random interleavings of asks, reports and successes by several clients, against a model of the cool-downs. */
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { cooldownKeys } from '../../src/redis/keys.ts';
import { passTime } from './cooldown-time.ts';
import { redisForFile } from './support.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** So far from a turn of events the model stays, since it cannot know the very millisecond of a script. */
const MARGIN = 5 * SECOND;
const CLIENTS = 3;
const MODELS = ['p/a', 'p/b', 'q/a'] as const;
const NAMES = ['p', 'q', ...MODELS];
const STEPS = {
  busy: { firstMs: 15 * SECOND, capMs: 5 * MINUTE },
  refused: { firstMs: MINUTE, capMs: 10 * MINUTE },
};

type Step =
  | { do: 'ask'; model: string; clients: number[] }
  | { do: 'report'; model: string; clients: number[]; kind: 'busy' | 'refused'; retryAfterMs: number }
  | { do: 'clear'; model: string; client: number }
  | { do: 'pass'; ms: number };

const model = fc.constantFrom(...MODELS);
const client = fc.nat(CLIENTS - 1);
const clients = fc.array(client, { minLength: 1, maxLength: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('ask' as const), model, clients }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('report' as const),
      model,
      clients,
      kind: fc.constantFrom('busy' as const, 'busy' as const, 'refused' as const),
      retryAfterMs: fc.constantFrom(0, 0, 7 * SECOND, 2 * MINUTE, 40 * MINUTE, 5 * HOUR),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), model, client }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: SECOND, max: HOUR }) }) },
);

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
let connections: Redis[];
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
  connections = Array.from({ length: CLIENTS }, () => server.client());
});
afterAll(() => server.close());

interface Known {
  step: number;
  until: number;
  probe: number;
}

class Model {
  readonly #prefix: string;
  readonly #clients: Cooldowns[];
  readonly #known = new Map<string, Known>();

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.#clients = connections.map(connection => new Cooldowns(connection, { prefix }));
  }

  async run(step: Step): Promise<void> {
    if (step.do === 'pass') return this.#pass(step.ms);
    let before = await now();
    while (this.#isClose(before)) {
      await this.#pass(2 * MARGIN);
      before = await now();
    }
    if (step.do === 'ask') return this.#ask(step.model, step.clients, before);
    if (step.do === 'report') return this.#report(step, before);
    await this.#client(step.client).clear(step.model);
    for (const name of [providerOf(step.model), step.model]) {
      if ((this.#known.get(name)?.until ?? Number.POSITIVE_INFINITY) <= before) this.#known.delete(name);
    }
  }

  /** However it went, an hour later everybody may go: the first as the one that tries, all after its success. */
  async end(): Promise<void> {
    await this.#pass(HOUR + MARGIN);
    for (const model of MODELS) {
      await this.#pass(MINUTE + MARGIN);
      expect((await this.#client(0).ask(model)).waitMs).toBe(0);
      await this.#client(0).clear(model);
      for (const name of [providerOf(model), model]) this.#known.delete(name);
      expect((await this.#client(1).ask(model)).waitMs).toBe(0);
    }
    expect(await this.#client(0).list()).toEqual([]);
  }

  async #ask(model: string, clients: number[], before: number): Promise<void> {
    const answers = await Promise.all(clients.map(one => this.#client(one).ask(model)));
    const after = await now();
    const waits = answers.map(({ waitMs }) => waitMs);
    const heeded = [providerOf(model), model].flatMap(name => this.#known.get(name) ?? []);
    const running = Math.max(...heeded.map(({ until }) => until)) > before;
    const taken = heeded.some(({ until, probe }) => until <= before && probe > before);
    const went = waits.filter(waitMs => waitMs === 0).length;
    if (running) {
      const longest = Math.max(...heeded.map(({ until }) => until));
      for (const waitMs of waits) {
        expect(waitMs).toBeGreaterThanOrEqual(longest - after);
        expect(waitMs).toBeLessThanOrEqual(Math.max(longest - before, 15 * SECOND));
      }
    } else if (heeded.length === 0) {
      expect(went).toBe(clients.length);
    } else {
      expect(went).toBe(taken ? 0 : 1);
      for (const waitMs of waits) expect([0, 15 * SECOND]).toContain(waitMs);
      if (!taken) for (const one of heeded) one.probe = before + MINUTE;
    }
  }

  async #report(step: Extract<Step, { do: 'report' }>, before: number): Promise<void> {
    const { kind, retryAfterMs } = step;
    const name = kind === 'busy' ? step.model : providerOf(step.model);
    const replies = await Promise.all(
      step.clients.map(one => this.#client(one).report(step.model, { kind, retryAfterMs, reason: 'why' })),
    );
    const after = await now();
    const known = this.#known.get(name);
    const asked = Math.min(retryAfterMs, HOUR);
    const shown = (await this.#client(0).list()).find(one => one.name === name);
    const until = shown?.until ?? 0;
    for (const { waitMs } of replies) expect(waitMs).toBeGreaterThanOrEqual(asked);

    if (known !== undefined && known.until > before) {
      expect(shown?.step).toBe(known.step);
      expect(until).toBeGreaterThanOrEqual(Math.max(known.until, before + asked));
      expect(until).toBeLessThanOrEqual(Math.max(known.until, after + asked));
      known.until = until;
      return;
    }
    const widened = (known?.step ?? 0) + 1;
    const { firstMs, capMs } = STEPS[kind];
    const wait = Math.max(Math.min(firstMs * 2 ** (widened - 1), capMs), asked);
    expect(shown).toMatchObject({ kind, step: widened });
    expect(until).toBeGreaterThanOrEqual(before + wait);
    expect(until).toBeLessThanOrEqual(after + wait);
    this.#known.set(name, { step: widened, until, probe: 0 });
  }

  async #pass(ms: number): Promise<void> {
    for (const name of NAMES) await passTime(redis, this.#prefix, name, ms);
    for (const [name, known] of this.#known) {
      known.until -= ms;
      known.probe -= ms;
      if ((await redis.exists(cooldownKeys(this.#prefix, name).cooldown)) === 1) continue;
      expect(known.until + HOUR).toBeLessThanOrEqual(await now());
      this.#known.delete(name);
    }
    const time = await now();
    for (const { until } of this.#known.values()) expect(until + HOUR).toBeGreaterThan(time - MARGIN);
  }

  #isClose(time: number): boolean {
    const turns = [...this.#known.values()].flatMap(({ until, probe }) => [until, probe, until + HOUR]);
    return turns.some(turn => Math.abs(turn - time) < MARGIN);
  }

  #client(index: number): Cooldowns {
    const client = this.#clients[index];
    if (client === undefined) throw new Error('no such client');
    return client;
  }
}

function providerOf(model: string): string {
  return model.slice(0, model.indexOf('/'));
}

async function now(): Promise<number> {
  const [seconds, micros] = await redis.time();
  return Number(seconds) * SECOND + Math.floor(Number(micros) / 1_000);
}

test('never shorter than asked for, wider once in a cool-down, at most one tries at a time, and it always ends', async () => {
  let pools = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async steps => {
      pools += 1;
      const model = new Model(`pool-${pools}`);
      for (const one of steps) await model.run(one);
      await model.end();
    }),
    { numRuns: 100 },
  );
});
