/** What workers write down beside the jobs: outcomes by the hour, and the memory of cells. */
import type { ViewContext } from './context.ts';
import type { HourFacts } from './facts.ts';

const HOUR_MS = 3_600_000;

/** The last `count` hours, oldest first, the present one last. */
export async function readHours(_context: ViewContext, count: number): Promise<HourFacts[]> {
  const present = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  return Array.from({ length: Math.max(0, count) }, (_, index) => ({
    from: present - (count - 1 - index) * HOUR_MS,
    outcomes: {},
    tokens: 0,
    costUsd: 0,
  }));
}

/** Bytes by cell id, of those cells of the hosts that somebody has looked at. */
export async function readMemory(_context: ViewContext, _hosts: readonly string[]): Promise<Map<string, number>> {
  return new Map();
}
