/**
 * The processes of this machine, as /proc tells them (Linux only; elsewhere the table is empty and only process
 * groups can be stopped). A pid alone is never trusted: it is read again with its start time before a signal.
 */
import { readFileSync } from 'node:fs';
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { isAbsolute, sep } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import pLimit from 'p-limit';
import { CellpoolError } from '../errors.ts';

export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** Clock ticks after boot; with the pid it names a process for ever. */
  readonly startTime: string;
  readonly zombie: boolean;
  /** Whether it has a terminal: somebody's shell or editor. */
  readonly terminal: boolean;
  /** Whether it is the kernel's own, without environment and folder, and nobody's to signal. */
  readonly kernel: boolean;
}

/** `PF_KTHREAD` in include/linux/sched.h, one of the flags that /proc/PID/stat tells. */
const KERNEL_FLAG = 0x0020_0000;

/** How many processes are read at once in the background: a busy machine has thousands, and each takes file handles. */
const READS = 32;
/** So many are read in one go, within a few milliseconds; then whatever else waits has its turn. */
const IN_ONE_GO = 128;

/**
 * Reads one process, or null when there is none. Not in the background: the kernel answers from memory within
 * microseconds, and to hand the reading to another thread and back takes ten times as long, for hundreds of processes.
 */
export async function readProcess(pid: number): Promise<ProcessEntry | null> {
  const stat = statOf(pid);
  if (stat === null) return null;
  // The command's name stands in parentheses and may itself hold blanks and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent, group] = fields;
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    startTime: fields[19] ?? '',
    zombie: state === 'Z' || state === 'X',
    terminal: fields[4] !== '0',
    kernel: (Number(fields[6]) & KERNEL_FLAG) !== 0,
  };
}

export async function listProcesses(): Promise<ProcessEntry[]> {
  const names = (await quietly(readdir('/proc'))) ?? [];
  return readProcesses(names.filter(name => /^\d+$/.test(name)).map(Number));
}

/** Those of them that there are, in their order. */
export async function readProcesses(pids: readonly number[]): Promise<ProcessEntry[]> {
  const entries: (ProcessEntry | null)[] = [];
  for (const [index, pid] of pids.entries()) {
    if (index > 0 && index % IN_ONE_GO === 0) await setImmediate();
    entries.push(await readProcess(pid));
  }
  return entries.filter(entry => entry !== null);
}

/** Living processes of the group; falls back to asking the kernel where there is no /proc. */
export async function groupIsAlive(group: number): Promise<boolean> {
  if (!signalGroup(group, 0)) return false;
  const members = (await listProcesses()).filter(entry => entry.group === group);
  // Without an entry in the table the kernel's answer stands; zombies wait for their parent and do nothing.
  return members.length === 0 ? process.platform !== 'linux' : members.some(entry => !entry.zombie);
}

/**
 * Processes that belong to a cell though they left its process group: they carry `marker` (`NAME=value`) in their
 * environment or, when a `folder` is given, work in or below it without a terminal (with one it is a person who looks
 * around there). One that cleared its environment and moved away is not found. What is found here gets killed, so a
 * marker or folder that would fit everything is refused.
 */
export async function findStrays(marker: string, folder: string | null): Promise<ProcessEntry[]> {
  if (!/^\w+=.+/s.test(marker) || (folder !== null && (!isAbsolute(folder) || folder === sep))) {
    throw new CellpoolError('INTERNAL', `no way to know a cell's processes: ${JSON.stringify({ marker, folder })}`);
  }
  // The kernel tells a process's folder without symbolic links, and with a note when it was removed.
  const real = folder === null ? null : await realpath(folder).catch(() => folder);
  const isCandidate = ({ zombie, kernel, pid }: ProcessEntry) => !zombie && !kernel && pid !== process.pid;
  const entries = (await listProcesses()).filter(isCandidate);
  const checked = await pLimit(READS).map(entries, async entry => {
    const [environment, cwd] = await Promise.all([
      quietly(readFile(`/proc/${entry.pid}/environ`, 'latin1')),
      real === null || entry.terminal ? null : quietly(readlink(`/proc/${entry.pid}/cwd`)),
    ]);
    const below = real !== null && cwd !== null && isWithin(cwd.replace(/ \(deleted\)$/, ''), real);
    return below || environment?.split('\0').includes(marker) ? entry : null;
  });
  return checked.filter(entry => entry !== null);
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder + sep);
}

/** Sends a signal to a whole process group; false when there is none. */
export function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  return signalPid(-group, signal);
}

/** Kills exactly this process; a pid that was given to another one meanwhile is left alone. */
export async function killEntry(entry: ProcessEntry): Promise<void> {
  const now = await readProcess(entry.pid);
  if (now?.startTime === entry.startTime) signalPid(entry.pid, 'SIGKILL');
}

/** Whether there is a process of this number, also one that is not ours to signal. */
export function pidIsTaken(pid: number): boolean {
  return signalPid(pid, 0);
}

function signalPid(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ESRCH') return false;
    // EPERM: it is there, and not ours to signal.
    if (code === 'EPERM') return true;
    throw error;
  }
}

const NOT_OURS: ReadonlySet<unknown> = new Set(['ENOENT', 'ESRCH', 'EACCES', 'EPERM']);

/**
 * /proc entries vanish while they are read, and those of other users are closed to us; that is an answer. Everything
 * else (no file handle left) is an error: it must not read as "there is no such process".
 */
async function quietly<T>(reading: Promise<T>): Promise<T | null> {
  return reading.catch(nullOrThrow);
}

function statOf(pid: number): string | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    return nullOrThrow(error as NodeJS.ErrnoException);
  }
}

function nullOrThrow(error: NodeJS.ErrnoException): null {
  if (NOT_OURS.has(error.code)) return null;
  throw error;
}
