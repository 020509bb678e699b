/**
 * The processes of this machine as /proc tells them, read on our own: what the project overlooks is what has to be
 * found here. A process is named by pid and start time; a pid alone may belong to somebody else by now.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** Living ones only; zombies do nothing any more. */
export function processTable() {
  const names = readdirSync('/proc').filter(name => /^\d+$/.test(name));
  return names.map(name => readProcess(Number(name))).filter(one => one !== null);
}

export function readProcess(pid) {
  const stat = read(`/proc/${pid}/stat`);
  // The command's name stands in parentheses and may itself hold blanks and parentheses.
  const [state, parent, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (stat === '' || state === 'Z' || state === 'X') return null;
  const argv = read(`/proc/${pid}/cmdline`).split('\0').slice(0, -1);
  return { pid, parent: Number(parent), startTime: rest[17] ?? '', state, argv };
}

export const isAlive = ({ pid, startTime }) => readProcess(pid)?.startTime === startTime;

export const environmentOf = pid => read(`/proc/${pid}/environ`).split('\0');

/** False when it is gone. */
export function signal(one, name) {
  if (!isAlive(one)) return false;
  try {
    process.kill(one.pid, name);
    return true;
  } catch {
    return false; // It went just now.
  }
}

/** The opencode servers among `table`, each with its port and the cell it says it belongs to. */
export function serversIn(table, folder) {
  const ports = new Map();
  for (const one of table) {
    const [program = '', command, ...flags] = one.argv;
    if (!basename(program).startsWith('opencode') || command !== 'serve') continue;
    ports.set(one.pid, Number(flags[flags.indexOf('--port') + 1]));
  }
  return table.flatMap(one => {
    const port = ports.get(one.pid);
    // A tool that a server is about to start looks like its parent until it has become what it will be.
    if (port === undefined || ports.get(one.parent) === port) return [];
    const environment = environmentOf(one.pid);
    if (!environment.some(entry => entry.startsWith('HOME=') && entry.includes(`${folder}/`))) return [];
    const cell = environment.find(entry => entry.startsWith('CELLPOOL_CELL='))?.slice('CELLPOOL_CELL='.length) ?? '';
    return [{ ...one, port, cell }];
  });
}

/** The pid of `ancestors` that `pid` descends from, or null. */
export function ancestorOf(table, pid, ancestors) {
  const parents = new Map(table.map(one => [one.pid, one.parent]));
  for (let at = pid; at !== undefined && at > 1; at = parents.get(at)) if (ancestors.has(at)) return at;
  return null;
}

/** Everything that belongs to a run: by its mark or folder in the environment, its working folder, or its arguments. */
export function processesOf({ folder, mark }, own) {
  const below = text => text === folder || text.includes(`${folder}/`);
  return processTable().filter(one => {
    if (one.pid === process.pid || own.has(one.pid)) return false;
    const environment = environmentOf(one.pid);
    return environment.includes(mark) || environment.some(below) || below(folderOf(one.pid)) || one.argv.some(below);
  });
}

function folderOf(pid) {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // It ended meanwhile, or is not ours.
  }
}
