/**
 * Reading what attempts have left on this host. Where an attempt's folder is says a record in Redis, to which anybody
 * may write, and agents may have been at what lies there; so a file is read only when it is one that we write, in the
 * folder of an attempt below our own state folder, with no link on the way there.
 */
import { constants } from 'node:fs';
import { lstat, open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HOOKS } from '../../job/hooks.ts';
import { taskIdFault } from '../../job/names.ts';
import { ARTIFACTS, hookLogOf } from '../../observe/artifacts.ts';

/** All names that a file among the artifacts may have. */
export const ARTIFACT_NAMES: readonly string[] = [...Object.values(ARTIFACTS), ...HOOKS.map(hookLogOf)];

/** The folder of one attempt: `<home>/artifacts/<task id>/<name>`. */
export interface AttemptPlace {
  /** The state folder. */
  home: string;
  taskId: string;
  name: string;
}

/** Where somebody looks from. */
export interface Site {
  /** The state folder. */
  home: string;
  host: string;
}

export type Located =
  | { kind: 'here'; place: AttemptPlace }
  /** It was here, and has been removed. */
  | { kind: 'gone' }
  /** `host` null: on this one, in another state folder. */
  | { kind: 'elsewhere'; host: string | null };

/** A part of a file. */
export interface ArtifactPart {
  bytes: Buffer;
  /** Where in the file it begins. */
  from: number;
  /** Of the whole file, as it was when it was opened. */
  size: number;
}

export interface PartWanted {
  /** The byte to begin at; `end`: the last `most` bytes. Left out: 0. */
  from?: number | 'end';
  /** Bytes; at most `READ_MAX` are read at once. Left out: 1 MiB. */
  most?: number;
}

/** The most that is read at once, and so of what is read as a whole: a longer transcript cannot be told. */
export const READ_MAX = 16 * 1024 * 1024;
const USUAL = 1024 * 1024;

/** `<attempt>-<8 hex digits>`, as workers name them. */
const ATTEMPT_NAME = /^\d{1,6}-[0-9a-f]{8}$/;

/** The attempt's place when the folder that was recorded for it is one below this state folder; null when not. */
export function placeOf(home: string, taskId: string, recorded: string): AttemptPlace | null {
  const name = basename(recorded);
  if (taskIdFault(taskId) !== null || !ATTEMPT_NAME.test(name)) return null;
  return recorded === folderOf(home, { taskId, name }) ? { home, taskId, name } : null;
}

/** Whether the attempt's folder is there: another machine may call its state folder by the same path. */
export async function isHere({ home, taskId, name }: AttemptPlace): Promise<boolean> {
  return (await lstat(folderOf(home, { taskId, name })).catch(orNull))?.isDirectory() === true;
}

/**
 * Where the artifacts of an attempt are. `artifacts` is the folder as it was recorded, `host` the one that recorded it:
 * what lies here counts before it, as hosts may share a state folder.
 */
export async function locate(
  { home, host }: Site,
  taskId: string,
  recorded: { artifacts: string; host?: string | undefined },
): Promise<Located> {
  const place = placeOf(home, taskId, recorded.artifacts);
  if (place !== null && (await isHere(place))) return { kind: 'here', place };
  if (recorded.host !== undefined && recorded.host !== host) return { kind: 'elsewhere', host: recorded.host };
  return place === null ? { kind: 'elsewhere', host: null } : { kind: 'gone' };
}

/** The attempts of a task that left something here, those that did not count too; the latest one last. */
export async function placesOf(home: string, taskId: string): Promise<AttemptPlace[]> {
  if (taskIdFault(taskId) !== null) return [];
  const folder = join(home, 'artifacts', taskId);
  const names = (await readdir(folder).catch(orNull)) ?? [];
  const found = await Promise.all(
    names
      .filter(name => ATTEMPT_NAME.test(name))
      .map(async name => ({ name, at: (await lstat(join(folder, name)).catch(orNull))?.mtimeMs ?? 0 })),
  );
  return found.sort((a, b) => a.at - b.at).map(({ name }) => ({ home, taskId, name }));
}

/** The files that are there, in a fixed order. */
export async function listArtifacts(place: AttemptPlace): Promise<{ file: string; size: number }[]> {
  const found = await Promise.all(
    ARTIFACT_NAMES.map(async file => {
      const part = await readArtifact(place, file, { most: 0 });
      return part === null ? [] : [{ file, size: part.size }];
    }),
  );
  return found.flat();
}

/**
 * A part of the file; null when there is no such file, or it is none of ours: another name, no plain file, or a link
 * on the way to it. @throws the file system's error when it is there and cannot be read
 */
export async function readArtifact(
  place: AttemptPlace,
  file: string,
  { from = 0, most = USUAL }: PartWanted = {},
): Promise<ArtifactPart | null> {
  if (taskIdFault(place.taskId) !== null || !ATTEMPT_NAME.test(place.name)) return null;
  if (!ARTIFACT_NAMES.includes(file)) return null;
  // The state folder itself may well be reached by a link.
  const home = await realpath(place.home).catch(orNull);
  if (home === null) return null;
  const path = join(folderOf(home, place), file);
  // Without waiting for a writer, should it be a pipe.
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(orNull);
  if (handle === null) return null;
  try {
    const opened = await handle.stat();
    if (!opened.isFile() || !(await isAt(path, opened))) return null;
    const { size } = opened;
    const length = Math.min(most, READ_MAX);
    const begin = from === 'end' ? Math.max(0, size - length) : Math.min(from, size);
    const bytes = Buffer.alloc(Math.min(length, size - begin));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, begin);
    return { bytes: bytes.subarray(0, bytesRead), from: begin, size };
  } finally {
    await handle.close();
  }
}

/** Whether what was opened lies at `path` itself, and at no other place that a folder on the way leads to. */
async function isAt(path: string, { dev, ino }: { dev: number; ino: number }): Promise<boolean> {
  if ((await realpath(path).catch(orNull)) !== path) return false;
  const found = await stat(path).catch(orNull);
  return found?.dev === dev && found.ino === ino;
}

function folderOf(home: string, { taskId, name }: Omit<AttemptPlace, 'home'>): string {
  return join(home, 'artifacts', taskId, name);
}

/** For what is not there, or is no file or folder where one is looked for. */
function orNull(error: NodeJS.ErrnoException): null {
  if (['ENOENT', 'ENOTDIR', 'ELOOP', 'EMLINK', 'ENXIO'].includes(error.code ?? '')) return null;
  throw error;
}
