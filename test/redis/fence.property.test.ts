/** Random interleavings of attempts by several clients, against a model of what the fence promises. */
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { Fence } from '../../src/redis/fence.ts';
import { taskKeys } from '../../src/redis/keys.ts';
import { redisForFile } from './support.ts';

const CLIENTS = 3;
const prefix = 'fences';
const enqueuedAt = 1_700_000_000_000;

type Step =
  | { do: 'begin'; client: number }
  /** Several at one time, of which all but the last crash. */
  | { do: 'race'; clients: number[] }
  | { do: 'end'; client: number; pick: number; unended: number }
  | { do: 'permit'; client: number; pick: number }
  | { do: 'take the lock'; pick: number }
  | { do: 'lose the lock' }
  | { do: 'forget' };

const client = fc.nat(CLIENTS - 1);
/** Which attempt, counted from the latest. */
const pick = fc.nat(3);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('begin' as const), client }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('race' as const),
      clients: fc.array(client, { minLength: 2, maxLength: 8 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('end' as const), client, pick, unended: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('permit' as const), client, pick }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('take the lock' as const), pick }) },
  { weight: 1, arbitrary: fc.constant({ do: 'lose the lock' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'forget' as const }) },
);

let server: Awaited<ReturnType<typeof redisForFile>>;
let redis: Redis;
let fences: Fence[];
beforeAll(async () => {
  server = await redisForFile();
  redis = server.client();
  fences = Array.from({ length: CLIENTS }, () => new Fence(server.client(), { prefix }));
});
afterAll(() => server.close());

class Model {
  readonly #taskId: string;
  readonly #given: string[] = [];
  /** Null after Redis forgot. */
  #latest: string | null = null;
  #unended = 0;
  #holder: string | null = null;

  constructor(taskId: string) {
    this.#taskId = taskId;
  }

  async run(step: Step): Promise<void> {
    const keys = taskKeys(prefix, this.#taskId);
    if (step.do === 'begin') return this.#begin([step.client]);
    if (step.do === 'race') return this.#begin(step.clients);
    if (step.do === 'forget') {
      await redis.del(keys.fence);
      [this.#latest, this.#unended] = [null, 0];
      return;
    }
    if (step.do === 'lose the lock') {
      await redis.del(keys.lock);
      this.#holder = null;
      return;
    }
    const number = this.#given.at(-1 - step.pick);
    if (number === undefined) return;
    if (step.do === 'take the lock') {
      await redis.set(keys.lock, `token of ${number}`, 'PX', 60_000);
      this.#holder = number;
    } else if (step.do === 'end') {
      const { unended } = step;
      await fenceOf(step.client).end(this.#taskId, { number, unended });
      if (number === this.#latest) this.#unended = unended;
    } else {
      const permitted = await this.#permitted(step.client, number);
      expect(permitted).toBe(number === this.#latest && number === this.#holder);
    }
  }

  async #begin(clients: number[]): Promise<void> {
    const begun = await Promise.all(clients.map(one => fenceOf(one).begin({ taskId: this.#taskId, enqueuedAt })));
    begun.sort((a, b) => (BigInt(a.number) < BigInt(b.number) ? -1 : 1));
    for (const { number, unended } of begun) {
      expect(BigInt(number)).toBeGreaterThan(BigInt(this.#given.at(-1) ?? 0));
      expect(unended).toBe(this.#unended);
      this.#given.push(number);
      this.#unended += 1;
    }
    this.#latest = this.#given.at(-1) ?? null;
  }

  async #permitted(client: number, number: string): Promise<boolean> {
    const asked = { taskId: this.#taskId, number, token: `token of ${number}`, lockMs: 60_000 };
    try {
      await fenceOf(client).permit(asked);
      return true;
    } catch (error) {
      if (error instanceof CellpoolError && error.code === 'FENCED') return false;
      throw error;
    }
  }
}

function fenceOf(client: number): Fence {
  const fence = fences[client];
  if (fence === undefined) throw new Error('no such client');
  return fence;
}

test('numbers only rise, and only the latest attempt whose worker holds the lock is permitted', async () => {
  let tasks = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async steps => {
      tasks += 1;
      const model = new Model(`task-${tasks}`);
      for (const one of steps) await model.run(one);
    }),
    { numRuns: 100 },
  );
});
