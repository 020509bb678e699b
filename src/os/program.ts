/** Where a program is, found as the kernel and `PATH` would find it. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';

/**
 * The file that `file` stands for in folder `cwd`: itself when it is a path, else the first of its name along `path`.
 * @throws {NodeJS.ErrnoException} ENOENT, EACCES, in the words of a failed start
 */
export async function findProgram(file: string, path: string, cwd = '/'): Promise<string> {
  const places = file.includes('/') ? [''] : path.split(delimiter);
  let problem = 'ENOENT';
  for (const place of places) {
    const candidate = resolve(cwd, join(place, file));
    const fault = await faultOf(candidate);
    if (fault === null) return candidate;
    // One that may not be run is passed over, and told of when there is no other.
    if (fault === 'EACCES') problem = fault;
  }
  const error = new Error(`spawn ${file} ${problem}`);
  throw Object.assign(error, { code: problem, syscall: `spawn ${file}`, path: file });
}

async function faultOf(path: string): Promise<string | null> {
  try {
    if (!(await stat(path)).isFile()) return 'EACCES';
    await access(path, constants.X_OK);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'ENOENT';
  }
}
