/** What a worker does for the disk of its host, slowly: removes what is over for long, and tells what is left. */
import { join } from 'node:path';
import type { Settings } from '../config.ts';
import type { Logger } from '../observe/logger.ts';
import { folderSize } from '../os/folder-size.ts';
import type { DiskUses } from '../redis/disk-use.ts';
import type { CellRegistry } from '../redis/registry.ts';
import { pruneArtifacts } from './prune-artifacts.ts';

/** Measuring mirrors, cells and artifacts may take seconds of a disk; one worker of a host does it. */
const EVERY_MS = 10 * 60_000;

export interface TidyOptions {
  settings: Pick<Settings, 'home' | 'host' | 'retention'>;
  registry: Pick<CellRegistry, 'list'>;
  uses: DiskUses;
  log: Logger;
  /** Nothing more is begun once it is aborted. */
  signal: AbortSignal;
}

/** Does nothing when it was done within the last 10 minutes. @throws the error of Redis or of the file system */
export async function tidy({ settings, registry, uses, log, signal }: TidyOptions): Promise<void> {
  const { home, host, retention } = settings;
  if (!(await uses.takeTurn(host, home, EVERY_MS))) return;
  // Also of cells whose records nobody understands: their tasks may be at work.
  const running = new Set((await registry.list()).map(({ cellId }) => cellId.slice(0, cellId.lastIndexOf('.'))));
  const { artifactDays, artifactsMb } = retention;
  const pruned = await pruneArtifacts({ home, artifactDays, artifactsMb, running, signal });
  if (pruned.removed > 0) log.info({ attempts: pruned.removed }, 'artifacts of old attempts removed');
  if (pruned.faults.length > 0) log.warn({ faults: pruned.faults.slice(0, 10) }, 'artifacts that could not be removed');
  const sizeOf = async (name: string) => (await folderSize(join(home, name), signal)) ?? 0;
  // Both are what is kept of repositories between attempts.
  const mirrorsBytes = (await sizeOf('mirrors')) + (await sizeOf('remotes'));
  const cellsBytes = await sizeOf('cells');
  if (signal.aborted) return;
  const artifactsBytes = pruned.leftBytes ?? 0;
  await uses.write(host, {
    artifactsBytes,
    mirrorsBytes,
    cellsBytes,
    at: Date.now(),
  });
}
