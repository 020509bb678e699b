/** What workers write down beside the jobs: outcomes by the hour, and the memory of cells. */
import { CellMemory } from '../../redis/cell-memory.ts';
import { Tally, type Totals } from '../../redis/tally.ts';
import type { ViewContext } from './context.ts';
import type { HourFacts } from './facts.ts';

/** The last `count` hours, oldest first, the present one last; none of 0. */
export async function readHours({ redis, prefix }: ViewContext, count: number): Promise<HourFacts[]> {
  return count <= 0 ? [] : new Tally(redis, { prefix }).hours(count);
}

export type Fates = Totals['landings'];

/** What became of all landings since the first one. */
export async function readFates({ redis, prefix }: ViewContext): Promise<Fates> {
  return (await new Tally(redis, { prefix }).totals()).landings;
}

/** Bytes by cell id, of those cells of the hosts that somebody has looked at. */
export async function readMemory(
  { redis, prefix }: ViewContext,
  hosts: readonly string[],
): Promise<Map<string, number>> {
  return new CellMemory(redis, { prefix }).read(hosts);
}
