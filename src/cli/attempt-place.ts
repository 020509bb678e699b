/** Where an attempt's artifacts are, as seen from this machine and its state folder. */
import { type AttemptPlace, isHere, placeOf } from '../board/view/artifact-file.ts';
import type { Settings } from '../config.ts';

export type Site = Pick<Settings, 'home' | 'host'>;

/** `elsewhere`: the end of a sentence that says where they are, or were. */
export type Located = { place: AttemptPlace; elsewhere: null } | { place: null; elsewhere: string };

/** `artifacts` is the folder as it was recorded, `host` the one that recorded it. */
export async function locate(
  { home, host }: Site,
  taskId: string,
  recorded: { artifacts: string; host?: string | undefined },
): Promise<Located> {
  const place = placeOf(home, taskId, recorded.artifacts);
  if (place !== null && (await isHere(place))) return { place, elsewhere: null };
  const isOurs = recorded.host === undefined || recorded.host === host;
  if (place !== null && isOurs) return { place: null, elsewhere: `nothing is left in ${recorded.artifacts}` };
  const where = isOurs ? 'another state folder' : `host ${recorded.host}`;
  return { place: null, elsewhere: `its artifacts are on ${where}, in ${recorded.artifacts}` };
}
