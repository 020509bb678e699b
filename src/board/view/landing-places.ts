/** Where the jobs of landings stand on their queue, without what they hold. */
import { taskOfLanding } from '../../job/landing.ts';
import { pipelined } from '../../redis/pipelined.ts';
import type { ViewContext } from './context.ts';

export interface LandingPlace {
  id: string;
  /** `unknown`: it has come to its end, of which its data tell. */
  state: 'waiting' | 'trying' | 'unknown';
}

export interface PlaceOptions {
  /** Task ids; null: all. */
  wanted: ReadonlySet<string> | null;
  /** How many that are tried, and how many that wait; null: all. */
  live: number | null;
  ended: number;
}

/** In line, then being tried, then ended, the latest first. @throws the error of Redis when it is away */
export async function landingPlaces(
  context: ViewContext,
  { wanted, live, ended }: PlaceOptions,
): Promise<LandingPlace[]> {
  // In this order: a job that moves on in between is seen twice, and counts where it was seen last.
  const [waiting, trying, over] = await Promise.all([
    lineOf(context, ['wait', 'prioritized', 'delayed'], live),
    lineOf(context, ['active'], live),
    wanted === null ? latest(context, ended) : endedOf(context, wanted, ended),
  ]);
  const places = new Map<string, LandingPlace>();
  const enter = (ids: readonly string[], state: LandingPlace['state']) => {
    for (const id of ids) {
      if (wanted !== null && !wanted.has(taskOfLanding(id) ?? '')) continue;
      places.delete(id);
      places.set(id, { id, state });
    }
  };
  enter(waiting, 'waiting');
  enter(trying, 'trying');
  enter(over, 'unknown');
  return [...places.values()];
}

/** In the order in which they come up. */
async function lineOf(
  { landing }: ViewContext,
  lists: ('wait' | 'prioritized' | 'delayed' | 'active')[],
  most: number | null,
): Promise<string[]> {
  const ids = await Promise.all(lists.map(list => landing.getRanges([list], 0, most === null ? -1 : most - 1, true)));
  return ids.flat().slice(0, most ?? undefined);
}

type Ended = readonly [id: string, at: number];

async function latest({ redis, landing }: ViewContext, count: number): Promise<string[]> {
  const pipeline = redis.pipeline();
  for (const key of ENDED) pipeline.zrevrange(landing.toKey(key), 0, count - 1, 'WITHSCORES');
  const replies = await pipelined(pipeline);
  return byEnd(replies.flatMap(pairsOf), count);
}

const ENDED = ['completed', 'failed'] as const;
/** Entries that Redis looks at before it answers others. */
const SCAN = 1_000;

/** Nothing leads from a task to its landings, so all of their ids are looked at, and none of their jobs. */
async function endedOf({ redis, landing }: ViewContext, wanted: ReadonlySet<string>, count: number): Promise<string[]> {
  const found: Ended[] = [];
  for (const key of ENDED) {
    let cursor = '0';
    do {
      const [reply] = await pipelined(redis.pipeline().zscan(landing.toKey(key), cursor, 'COUNT', SCAN));
      const [next = '0', pairs = []] = (reply ?? []) as [string?, string[]?];
      found.push(...pairsOf(pairs).filter(([id]) => wanted.has(taskOfLanding(id) ?? '')));
      cursor = next;
    } while (cursor !== '0');
  }
  return byEnd(found, count);
}

function pairsOf(reply: unknown): Ended[] {
  const flat = (reply ?? []) as string[];
  return flat.flatMap((id, at): Ended[] => (at % 2 === 0 ? [[id, Number(flat[at + 1])]] : []));
}

function byEnd(ended: readonly Ended[], count: number): string[] {
  // A scan may tell of one twice.
  const unique = [...new Map(ended)];
  return unique
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([id]) => id);
}
