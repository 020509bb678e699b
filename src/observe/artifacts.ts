/** What is kept of an attempt for people: outside the workspace, so that no agent and no commit gets at it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import type { HookName } from '../job/hooks.ts';
import { wholeFile } from '../os/whole-file.ts';

/** The files an artifact folder may hold, beside the logs of hooks. */
export const ARTIFACTS = {
  transcript: 'transcript.json',
  diff: 'changes.diff',
  pythonLog: 'python.log',
  setupLog: 'setup.log',
  testLog: 'test.log',
  serverLog: 'server.log',
  result: 'result.json',
} as const;

export type ArtifactName = (typeof ARTIFACTS)[keyof typeof ARTIFACTS];

/** What the command of a hook printed. */
export function hookLogOf(hook: HookName): string {
  return `hook-${hook}.log`;
}

/** `<home>/artifacts/<task id>/<attempt name>`, which need not be there. @throws {CellpoolError} when one is no plain name. */
export function artifactFolder(home: string, taskId: string, name: string): string {
  return join(home, 'artifacts', plainName(taskId), plainName(name));
}

/** Makes and returns it. @throws {CellpoolError} when one is no plain name; the file system's error */
export async function makeArtifactFolder(home: string, taskId: string, name: string): Promise<string> {
  const folder = artifactFolder(home, taskId, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** Writes `value` as JSON: the whole file or none, also on a disk that is full. */
export async function writeArtifact(folder: string, file: ArtifactName, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  await wholeFile(join(folder, plainName(file)), path => writeFile(path, text, { mode: 0o600 }));
}

/** Task ids are checked long before; here it is what keeps a path below the state folder. */
function plainName(name: string): string {
  if (/^\w[\w.-]*$/.test(name)) return name;
  throw new CellpoolError('INTERNAL', `not a name for a file or folder: ${JSON.stringify(name)}`);
}
