/** Who a process is, so that another one can later prove that it is gone: a pid alone may belong to a stranger by then. */
import { readFile, readlink } from 'node:fs/promises';
import { readProcess } from './process-table.ts';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot; empty where there is no /proc. */
  readonly startTime: string;
  /** Of the kernel's run; empty where there is no /proc. */
  readonly bootId: string;
  /** Which processes a pid is counted among: that of a container means nothing outside of it. */
  readonly pidNamespace: string;
}

/** Identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  const [entry, bootId, pidNamespace] = await Promise.all([
    readProcess(process.pid),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => ''),
    readlink('/proc/self/ns/pid').catch(() => ''),
  ]);
  return { pid: process.pid, startTime: entry?.startTime ?? '', bootId: bootId.trim(), pidNamespace };
}
