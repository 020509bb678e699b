/** How much memory processes take together, in bytes. Linux only; elsewhere nothing can be told. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheIn } from './memory.ts';

/**
 * What the control groups have taken, without the page cache that the kernel would give back at once; null when none
 * of them counts memory.
 */
export async function memoryOfGroups(folders: readonly string[]): Promise<number | null> {
  for (const folder of folders) {
    const files = ['memory.current', 'memory.usage_in_bytes', 'memory.stat'];
    const [current, usage, stat] = await Promise.all(files.map(name => textOf(join(folder, name))));
    const used = Number.parseInt(current || usage || '', 10);
    if (Number.isFinite(used)) return Math.max(0, used - cacheIn(stat ?? ''));
  }
  return null;
}

/**
 * What is each process's own, and the largest part that one of them maps from files: they mostly map the same. To ask
 * the kernel for the exact shares would cost it milliseconds for each server.
 */
export async function memoryOfProcesses(pids: readonly number[]): Promise<number> {
  // As in process-table.ts.
  const texts = pids.map(statusOf);
  const parts = texts.map(text => {
    const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
    return { own: bytes('RssAnon') + bytes('RssShmem'), mapped: bytes('RssFile') };
  });
  const own = parts.reduce((sum, part) => sum + part.own, 0);
  return own + parts.reduce((most, { mapped }) => Math.max(most, mapped), 0);
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}

/** Empty when it cannot be read: the process is gone, or the group is not of this version. */
function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
