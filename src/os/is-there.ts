import { stat } from 'node:fs/promises';

/** Whether `path` can be reached, links followed; what may not be looked at counts as not there. */
export function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
