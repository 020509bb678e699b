/** Keeps a finished branch that waits to land from landing. The branch stays. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Fate } from '../job/fate.ts';
import { type LandingJob, type LandingQueue, landingIdOf, openLandingQueue } from '../job/landing.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { endLanding, landingOfResult } from '../job/stored-landing.ts';
import { LandingLine } from '../redis/landing-line.ts';

/**
 * What became of the landing of what stands on the branch of a task that has ended. `removed`: it waited, and is refused now. `tried`: a lander
 * is at it just now. Null: it was not to land, or has its fate. @throws the error of Redis
 */
export async function cancelLanding(
  { redis, prefix }: { redis: Redis; prefix: string },
  work: Pick<AttemptResult, 'taskId' | 'commit'>,
): Promise<'removed' | 'tried' | null> {
  const queue = openLandingQueue(redis, prefix);
  try {
    const landing = await waiting(redis, queue, work);
    if (landing === null) return null;
    if (await refuse(new LandingLine(redis, { prefix }), queue, landing)) return 'removed';
    return (await waiting(redis, queue, work)) === null ? null : 'tried';
  } finally {
    // Closing releases nothing in Redis, so a failure to say goodbye costs nothing.
    await queue.close().catch(() => undefined);
  }
}

async function waiting(
  redis: Redis,
  queue: LandingQueue,
  work: Pick<AttemptResult, 'taskId' | 'commit'>,
): Promise<LandingJob | null> {
  const data = (await landingOfResult(redis, queue, work))?.data ?? null;
  return data?.fate === undefined ? data : null;
}

/** As a lander would; whoever dies in between leaves it to the next lander, which finds what was decided. */
async function refuse(line: LandingLine, queue: LandingQueue, landing: LandingJob): Promise<boolean> {
  const [id, token] = [landingIdOf(landing), randomBytes(12).toString('hex')];
  if ((await line.take([id], token)).length === 0) return false;
  const message = `a person has cancelled it; branch ${landing.branch} stays`;
  const told = { kind: 'refused', why: 'cancelled', message } as const;
  const fate: Fate = { ...told, commit: null, batch: [], flaky: false, at: Date.now() };
  await line.write(id, token, { ...landing, fate });
  await endLanding(queue, id, token, fate);
  return true;
}
