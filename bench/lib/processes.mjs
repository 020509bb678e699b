/** Memory of a program with all it started, as /proc tells it (Linux only). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Linux tells every program that there are 100 a second (USER_HZ). */
const CLOCK_TICKS = 100;

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // It ended meanwhile.
  }
}

function workingFolder(pid) {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

/** Processes that descend from `root` or work below `folder`: servers, git, tests, and the private Redis. */
export function processesOf(root, folder) {
  const all = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(name => {
      const stat = read(`/proc/${name}/stat`);
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return { pid: Number(name), parent, below: workingFolder(name).startsWith(folder) };
    });
  const ours = new Set([root, ...all.filter(({ below }) => below).map(({ pid }) => pid)]);
  for (let before = 0; before !== ours.size; ) {
    before = ours.size;
    for (const { pid, parent } of all) if (ours.has(parent)) ours.add(pid);
  }
  return [...ours];
}

/** Bytes: PSS shares out what several processes map together, so that sums are true; RSS counts it every time. */
export function memoryOf(pids) {
  const sum = { pss: 0, rss: 0, servers: 0 };
  for (const pid of pids) {
    const rollup = read(`/proc/${pid}/smaps_rollup`);
    sum.pss += 1024 * Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    sum.rss += 1024 * Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    if (/opencode\0serve/.test(read(`/proc/${pid}/cmdline`))) sum.servers += 1;
  }
  return sum;
}

/** Seconds that a process has used by itself, and those of its children that have ended and were waited for. */
export function secondsOf(pid) {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const sum = (from, to) => fields.slice(from, to).reduce((all, one) => all + Number(one), 0) / CLOCK_TICKS;
  return { own: sum(11, 13), children: sum(13, 15) };
}

/** Both together. */
export function processorSeconds(pid) {
  const { own, children } = secondsOf(pid);
  return own + children;
}
