/** Finds the real opencode program; its Node shim is passed by, so that the pid we own is the server's. */
import { access, constants, readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, join, resolve } from 'node:path';
import { CellpoolError } from '../errors.ts';

/**
 * Path of the opencode program: `configured` (`OPENCODE_BIN`), else the platform's package that `opencode-ai` brings,
 * else `opencode` on PATH.
 * @throws {CellpoolError} OPENCODE_MISSING
 */
export async function findOpencode(configured: string | undefined): Promise<string> {
  if (configured !== undefined) {
    // Absolute, because the server is started in the workspace, where a relative path would mean something else.
    const path = resolve(configured);
    if (await isExecutable(path)) return path;
    throw new CellpoolError('OPENCODE_MISSING', `OPENCODE_BIN is not a program: ${configured}`, {
      hint: 'Point OPENCODE_BIN to the opencode program, or unset it to use the one that npm installed.',
    });
  }
  const packaged = (await packageNames()).map(fromPackage).filter(path => path !== null);
  const onPath = (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, 'opencode'));
  for (const path of [...packaged, ...onPath]) if (await isExecutable(path)) return resolve(path);
  throw new CellpoolError('OPENCODE_MISSING', `no opencode program for ${process.platform}-${process.arch} was found`, {
    hint: 'Run npm ci with optional dependencies, or set OPENCODE_BIN.',
  });
}

/** The packages that may hold the program for this machine, best first. */
async function packageNames(): Promise<string[]> {
  const name = `opencode-${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const variants = process.arch === 'x64' && !(await hasAvx2()) ? ['-baseline', ''] : ['', '-baseline'];
  const libc = process.platform === 'linux' && usesMusl() ? ['-musl', ''] : ['', '-musl'];
  return libc.flatMap(suffix => variants.map(variant => name + variant + suffix));
}

function fromPackage(name: string): string | null {
  const require = createRequire(import.meta.url);
  try {
    return require.resolve(`${name}/package.json`).replace(/package\.json$/, join('bin', 'opencode'));
  } catch {
    return null; // Not installed: npm installs only the packages of this platform.
  }
}

/** Other platforms than Linux tell it in other ways; there the plain build is tried first. */
async function hasAvx2(): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  return /^flags\s*:.*\bavx2\b/m.test(await readFile('/proc/cpuinfo', 'utf8').catch(() => ''));
}

function usesMusl(): boolean {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime === undefined;
}

/** Whether `path` is a program; of a folder, too, the system says that it may be executed. */
async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
