/** What is kept of an attempt for people: outside the workspace, so that no agent and no commit gets at it. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The files an artifact folder may hold. */
export const ARTIFACTS = {
  transcript: 'transcript.json',
  diff: 'changes.diff',
  setupLog: 'setup.log',
  testLog: 'test.log',
  serverLog: 'server.log',
  result: 'result.json',
} as const;

/** Makes and returns `<home>/artifacts/<task id>/<attempt name>`. */
export async function makeArtifactFolder(home: string, taskId: string, name: string): Promise<string> {
  const folder = join(home, 'artifacts', taskId, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

export async function writeArtifact(folder: string, file: string, value: unknown): Promise<void> {
  await writeFile(join(folder, file), `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
}
