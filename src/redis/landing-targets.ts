/**
 * What the landers of all hosts are at, by target: what is being tried, or why nothing lands there for now. For people,
 * and for whoever waits for a landing; who may land on a target is decided by the lease (`landing-lease.ts`).
 */
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { LAND } from '../config.ts';
import { DEFAULT_PREFIX, landingKeys } from './keys.ts';

/** A lander says every few seconds what it is at; what is older was left by one that died. */
const STALE_MS = 60_000;

export const targetNoteSchema = z.object({
  repository: z.string(),
  target: z.string(),
  /** What is tried there, and how: `trialMarkOf` a landing; left out: all that lands on it. */
  trial: z.string().optional(),
  /** Whether it is the branch in the repository or in a remote of it; left out where both are the same. */
  land: z.enum(LAND).exclude(['none']).optional(),
  host: z.string(),
  worker: z.string(),
  /** Task ids of the candidates that are tried just now. */
  trying: z.array(z.string()),
  /** Why nothing lands there for now; null: nothing is in the way. */
  held: z
    .object({
      code: z.string(),
      reason: z.string(),
      /** Whether it stays so until a person does something. */
      forPerson: z.boolean(),
      /** Epoch ms, of when it began, and of when its lander looks again. */
      since: z.number(),
      until: z.number().optional(),
    })
    .nullable(),
  /** Epoch ms. */
  at: z.number(),
});
export type TargetNote = z.infer<typeof targetNoteSchema>;

/** Whether the note is of the target that a landing has. */
export function isNoteOf(
  note: Pick<TargetNote, 'repository' | 'target' | 'land' | 'trial'>,
  landing: { repository: string; target: string; land: TargetNote['land']; trial?: string | undefined },
): boolean {
  if (note.trial !== undefined && landing.trial !== undefined) return note.trial === landing.trial;
  if (note.repository !== landing.repository || note.target !== landing.target) return false;
  return note.land === undefined || note.land === landing.land;
}

export class LandingTargets {
  readonly #redis: Redis;
  readonly #key: string;

  /** The client stays the caller's. Throws `InvalidInput` for a bad prefix. */
  constructor(redis: Redis, { prefix = DEFAULT_PREFIX }: { prefix?: string } = {}) {
    this.#redis = redis;
    this.#key = landingKeys(prefix).targets;
  }

  /** `trial` names target and way of testing; each lander has a note of its own. @throws the error of Redis */
  async write(trial: string, note: TargetNote): Promise<void> {
    await this.#redis.hset(this.#key, `${trial} ${note.worker}`, JSON.stringify(note));
  }

  /** This lander has nothing more to say of the target. @throws the error of Redis */
  async clear(trial: string, worker: string): Promise<void> {
    await this.#redis.hdel(this.#key, `${trial} ${worker}`);
  }

  /** Takes away what landers have left that died. @throws the error of Redis */
  async prune(): Promise<void> {
    const all = await this.#redis.hgetall(this.#key);
    const isOld = (text: string) => Date.now() - (understood(text)?.at ?? 0) >= STALE_MS;
    const old = Object.entries(all).flatMap(([field, text]) => (isOld(text) ? [field] : []));
    if (old.length > 0) await this.#redis.hdel(this.#key, ...old);
  }

  /** What living landers say, a note for each of them and each target. @throws the error of Redis */
  async list(): Promise<TargetNote[]> {
    const all = await this.#redis.hvals(this.#key);
    const notes = all.flatMap(text => understood(text) ?? []);
    return notes.filter(({ at }) => Date.now() - at < STALE_MS).sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  }
}

const nameOf = ({ repository, target, worker }: TargetNote) => `${repository} ${target} ${worker}`;

function understood(text: string): TargetNote | null {
  try {
    return targetNoteSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Not even JSON: anybody may write to a shared Redis.
    return null;
  }
}
