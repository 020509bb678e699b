/**
 * What a cell's programs find in place of those that are withheld from it: the first folder on their `PATH` has a
 * program of each name that says so. At isolation `process` that is a notice and no wall: whoever knows where the real
 * one lies can run it.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { wholeFile } from '../os/whole-file.ts';
import { WITHHELD } from '../os/withheld.ts';

/** 127 is how a shell ends a program that is not there. */
const STAND_IN = `#!/bin/sh
echo "\${0##*/} is not available in a cell; the pool writes to the tracker" >&2
exit 127
`;

/** The folder of the stand-ins, in the state folder. */
export function standInsOf(home: string): string {
  return join(home, 'stand-ins');
}

/** Makes them anew, whatever stands there: at `process` an agent can write to them. */
export async function makeStandIns(home: string): Promise<void> {
  const folder = standInsOf(home);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of WITHHELD) {
    await wholeFile(join(folder, name), path => writeFile(path, STAND_IN, { mode: 0o700 }));
  }
}

/** Where a shell looks that has no `PATH`. */
const USUAL = '/usr/local/bin:/usr/bin:/bin';

/** The worker's `PATH` behind the stand-ins, and behind folders of the cell's own. */
export function pathBehind(standIns: string, own: readonly string[]): string {
  return [standIns, ...own, process.env.PATH || USUAL].join(delimiter);
}
