/**
 * Runs around the suite, and before the worker's process is started: what a process sets for itself later does not
 * stand in the /proc entry of its environment, so the secret that agents look for there has to be given from outside.
 *
 * The settings have a folder of their own, not below the temporary one: of that every cell has its own, and state
 * folders do not lie there either. So it is looked through for leaks here.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeLeaks, endProcesses, pathsIn, processesLeft, realFolder } from '../support/leaks.ts';

export const WORKER_SECRET = 'ATTACK_WORKER_SECRET';
export const FOLDER = 'ATTACK_FOLDER';
/** In that folder, and first on the worker's PATH: a program that prints where it lies. */
export const TRACKER = 'bin/bd';

export default function setup(): () => Promise<void> {
  process.env[WORKER_SECRET] = `secret-of-worker-${randomBytes(8).toString('hex')}`;
  const folder = realFolder(mkdtempSync(fileURLToPath(new URL('../../node_modules/.attack-', import.meta.url))));
  process.env[FOLDER] = folder;
  const tracker = join(folder, TRACKER);
  mkdirSync(dirname(tracker));
  writeFileSync(tracker, '#!/bin/sh\necho "$0 ran"\n', { mode: 0o755 });
  process.env.PATH = `${dirname(tracker)}${delimiter}${process.env.PATH}`;
  return async () => {
    rmSync(dirname(tracker), { recursive: true, force: true });
    const scope = { marker: `${FOLDER}=${folder}`, folder };
    // Vitest's own workers carry the variable too, and are children of this process.
    const leaked = await processesLeft(scope, found => found.parent === process.pid);
    const listing = describeLeaks(leaked, pathsIn(folder));
    endProcesses(scope, leaked);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    if (listing === null) return;
    process.stderr.write(`\nLEAK: the attacks left something behind.\n${listing}\n`);
    process.exitCode = 1;
  };
}
