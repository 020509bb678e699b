/** Ids of tasks that a person or a program hands in. */
import type { Fault } from '../errors.ts';
import { taskIdFault } from '../job/names.ts';

/** What is wrong with the ids, each named by its place. */
export function idFaults(ids: readonly string[]): Fault[] {
  return ids.flatMap((id, index): Fault[] => {
    const what = taskIdFault(id);
    return what === null ? [] : [{ where: `id ${index + 1}`, what }];
  });
}
