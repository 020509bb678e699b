/** How many cells a worker runs at once when nothing else holds it back. */
import { largest } from '../cell/profile.ts';
import { CONCURRENCY_CAP, type Settings } from '../config.ts';
import { availableMemory, cellsThatFit } from '../os/memory.ts';

/** What was asked, else what memory allows beside those that are kept ready; with these never over 50. */
export async function capacityOf(
  { concurrency, profile, warm }: Pick<Settings, 'concurrency' | 'profile' | 'warm'>,
  available: () => Promise<number> = availableMemory,
): Promise<number> {
  const wanted = concurrency ?? Math.max(1, cellsThatFit(await available(), largest(profile)) - warm);
  return Math.min(CONCURRENCY_CAP - warm, wanted);
}
