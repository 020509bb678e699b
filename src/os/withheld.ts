/**
 * Programs that no cell is to have: those of the tracker that tasks may come from. Where cells are enclosed their files
 * are covered; everywhere a program of ours stands before them (see `cell/stand-ins.ts`).
 */
import { realpathSync, statSync } from 'node:fs';
import { basename, delimiter, dirname, isAbsolute, join } from 'node:path';

export const WITHHELD: readonly string[] = ['bd', 'beads'];

/** Where else than on `PATH` somebody would look for them. */
const USUAL = ['/usr/local/bin', '/usr/bin', '/bin'];
const NAMED = /^(bd|beads)([.-]|$)/i;

/** Their files on this machine, without symbolic links. */
export function withheldFiles(env: NodeJS.ProcessEnv, homes: readonly string[]): string[] {
  const folders = [...(env.PATH ?? '').split(delimiter), ...USUAL, ...homes.map(home => join(home, 'go', 'bin'))];
  const places = folders.flatMap(folder => WITHHELD.map(name => join(folder, name)));
  const found = [...places, env.BD_BIN ?? ''].filter(isAbsolute).flatMap(fileOf);
  // A package's launcher on PATH starts what lies beside it.
  const beside = found.flatMap(file => WITHHELD.map(name => join(dirname(file), name))).flatMap(fileOf);
  return [...new Set([...found, ...beside])];
}

/** A version manager's link leads to the manager itself, without which no program would be left. */
function fileOf(path: string): string[] {
  try {
    const real = realpathSync(path);
    const isOwn = basename(real) === basename(path) || NAMED.test(basename(real));
    return isOwn && statSync(real).isFile() ? [real] : [];
  } catch {
    return []; // There is none.
  }
}
