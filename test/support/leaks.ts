/**
 * Finds what a test left behind: processes, files, Redis keys. It reads /proc on its own instead of asking
 * src/os/process-table.ts, because what the project overlooks is exactly what has to be found here.
 *
 * A scope is a folder made for the tests alone and a variable that all their processes inherit. Cells start their
 * servers with an explicit environment, so a process counts as well when it works in that folder or names it.
 */
import { type Dirent, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join, sep } from 'node:path';
import type { Redis } from 'ioredis';

/** Carried by every process of one run of vitest. */
export const RUN_VARIABLE = 'CELLPOOL_TEST_RUN';
/** Carried by every process of one test file; its value begins with the file's path. */
export const FILE_VARIABLE = 'CELLPOOL_TEST_FILE';
/** How the name of a test file's own temp folder begins. */
export const OF_FILE = 'f-';
/** The temp root of the run; each test file has a folder of its own in it. */
export const ROOT_VARIABLE = 'CELLPOOL_TEST_ROOT';

export interface Scope {
  /** `NAME=value`. */
  marker: string;
  /** Absolute path without symbolic links. */
  folder: string;
}

export interface LeakedProcess {
  pid: number;
  parent: number;
  startTime: string;
  command: string;
  /** How it was recognised: `environment`, `works in PATH` or `names PATH`. */
  by: string;
  /** The test file it came from, where its environment tells. */
  file: string | null;
  hasTerminal: boolean;
}

const GRACE_MS = 3_000;
const POLL_MS = 50;
const MOST_PATHS = 40;

/** Only Linux shows the environment and the folder of every process of ours as files. */
export const canListProcesses = process.platform === 'linux';

/** Living processes in the scope, without this one and without `own`. */
export function processesOf(scope: Scope, own: (found: LeakedProcess) => boolean = () => false): LeakedProcess[] {
  // What is found is killed later: a scope that fits every process must never get that far.
  if (!/^\w+=.+/.test(scope.marker)) throw new Error(`a marker is written NAME=value: ${JSON.stringify(scope.marker)}`);
  if (!scope.folder.startsWith(sep) || scope.folder === sep) throw new Error(`no folder to look in: ${scope.folder}`);
  if (!canListProcesses) return [];
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(name => inspect(Number(name), scope))
    .filter(found => found !== null)
    .filter(found => !own(found));
}

function inspect(pid: number, scope: Scope): LeakedProcess | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name stands in parentheses and may itself hold blanks and parentheses.
    const [state, parent, , , terminal, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return null;
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
    const by = recognise(scope, environment, linkOrEmpty(`/proc/${pid}/cwd`), command);
    if (by === null) return null;
    const file = environment.find(entry => entry.startsWith(`${FILE_VARIABLE}=`));
    return {
      pid,
      parent: Number(parent),
      startTime: rest[14] ?? '',
      command: command.join(' ').slice(0, 200),
      by,
      file: file === undefined ? null : file.slice(FILE_VARIABLE.length + 1).replace(/#.*$/, ''),
      hasTerminal: terminal !== '0',
    };
  } catch {
    // It ended while it was read, or belongs to another user and so is none of ours.
    return null;
  }
}

function recognise(scope: Scope, environment: string[], cwd: string, command: string[]): string | null {
  if (environment.includes(scope.marker)) return 'environment';
  // A folder that was removed under the process is shown with " (deleted)" behind it, which the prefix allows.
  if (cwd === scope.folder || cwd.startsWith(scope.folder + sep)) return `works in ${cwd}`;
  const named = command.find(argument => argument.includes(scope.folder + sep));
  return named === undefined ? null : `names ${named.slice(0, 200)}`;
}

function linkOrEmpty(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** As `processesOf`, after those that are on their way out have had time to go. */
export async function processesLeft(scope: Scope, own?: (found: LeakedProcess) => boolean): Promise<LeakedProcess[]> {
  const end = Date.now() + GRACE_MS;
  for (;;) {
    const found = processesOf(scope, own);
    if (found.length === 0 || Date.now() >= end) return found;
    await new Promise(done => setTimeout(done, POLL_MS));
  }
}

/**
 * Ends leaked processes. One that is only known by its folder might be somebody's shell or editor looking into the
 * temp root: it is ended only when it has no terminal.
 */
export function endProcesses(scope: Scope, leaked: LeakedProcess[]): void {
  for (const { pid, startTime } of leaked) {
    const now = inspect(pid, scope);
    if (now === null || now.startTime !== startTime) continue;
    if (now.by !== 'environment' && now.hasTerminal) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone in the meantime.
    }
  }
}

/** Everything below `folder`, as paths; folders that hold something are named only through what they hold. */
export function pathsIn(folder: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap(entry => {
    const path = join(folder, entry.name);
    const inside = entry.isDirectory() ? pathsIn(path) : [];
    return inside.length > 0 ? inside : [entry.isDirectory() ? path + sep : path];
  });
}

/** The listing of what was left behind, or null when there is nothing. */
export function describeLeaks(leaked: LeakedProcess[], paths: string[]): string | null {
  if (leaked.length === 0 && paths.length === 0) return null;
  const lines: string[] = [];
  if (leaked.length > 0) lines.push(`${leaked.length} process(es) still running:`);
  for (const one of leaked) {
    const from = one.file === null ? '' : `, from ${one.file}`;
    lines.push(`  pid ${one.pid}: ${one.command}`, `    known by: ${one.by}${from}`);
  }
  if (paths.length > 0) lines.push(`${paths.length} file(s) or folder(s) not removed:`);
  lines.push(...paths.slice(0, MOST_PATHS).map(path => `  ${path}`));
  if (paths.length > MOST_PATHS) lines.push(`  and ${paths.length - MOST_PATHS} more`);
  return lines.join('\n');
}

/** `path` as the kernel shows it in /proc: macOS and some Linux setups reach their temp folder by a link. */
export function realFolder(path: string): string {
  return realpathSync(path);
}

/** Fails when Redis holds keys that match `pattern`, and names them. */
export async function expectNoKeys(redis: Pick<Redis, 'scan' | 'type'>, pattern: string): Promise<void> {
  const keys: string[] = [];
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1_000);
    keys.push(...found);
    cursor = next;
  } while (cursor !== '0');
  if (keys.length === 0) return;
  const shown = await Promise.all(
    [...new Set(keys)]
      .sort()
      .slice(0, MOST_PATHS)
      .map(async key => `  ${key} (${await redis.type(key)})`),
  );
  throw new Error(`Redis still holds keys like ${pattern}:\n${shown.join('\n')}`);
}
