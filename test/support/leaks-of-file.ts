/**
 * Runs before each test file: gives the file a temp folder and a marker of its own, and fails it at its end when
 * something of it is left. What slips through here (a file that dies, say) is found by the check of the whole run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { afterAll, expect } from 'vitest';
import { groupsLeft, removeGroups } from './groups-left.ts';
import { describeLeaks, endProcesses, FILE_VARIABLE, OF_FILE, pathsIn, processesLeft, ROOT_VARIABLE } from './leaks.ts';

const root = process.env[ROOT_VARIABLE];
if (root === undefined) throw new Error('test/global-setup.ts did not run: vitest was started without our config');

const path = expect.getState().testPath;
if (path === undefined) throw new Error('vitest does not tell which test file runs');

const file = relative(process.cwd(), path);
// Short, because sockets are made below it and their paths may have about 100 characters.
const name = `${basename(dirname(path))}-${basename(path).replace(/\..*$/, '')}`.slice(0, 20);
const folder = mkdtempSync(join(root, `${OF_FILE}${name}-`));
const marker = `${file}#${basename(folder)}`;

process.env.TMPDIR = folder;
process.env[FILE_VARIABLE] = marker;

afterAll(async () => {
  const scope = { marker: `${FILE_VARIABLE}=${marker}`, folder };
  const leaked = await processesLeft(scope);
  const groups = groupsLeft(folder);
  const listing = describeLeaks(leaked, [...pathsIn(folder), ...groups]);
  endProcesses(scope, leaked);
  removeGroups(groups);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  if (listing !== null) throw new Error(`${file} left something behind.\n${listing}`);
}, 30_000);
