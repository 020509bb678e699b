/** What a worker does for the disk of its host, slowly: removes what is over for long, and tells what is left. */
import { join } from 'node:path';
import type { Settings } from '../config.ts';
import type { Logger } from '../observe/logger.ts';
import { folderSize } from '../os/folder-size.ts';
import { taskNamedBy } from '../redis/cell-record.ts';
import type { DiskUses } from '../redis/disk-use.ts';
import type { CellRegistry } from '../redis/registry.ts';
import { pruneArtifacts } from './prune-artifacts.ts';

/** Measuring mirrors, cells and artifacts may take seconds of a disk; one worker of a host does it. */
const EVERY_MS = 10 * 60_000;
/** Folders right below the state folder; artifacts are measured when they are pruned. */
const MEASURED = ['mirrors', 'remotes', 'cells', 'discarded', 'spares', 'landings', 'caches', 'redis'] as const;

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
  const entries = await registry.list();
  const running = new Set(entries.flatMap(({ cellId, record }) => record?.taskId ?? taskNamedBy(cellId) ?? []));
  const { artifactDays, artifactsMb } = retention;
  const pruned = await pruneArtifacts({ home, artifactDays, artifactsMb, running, signal });
  if (pruned.removed > 0) log.info({ attempts: pruned.removed }, 'artifacts of old attempts removed');
  if (pruned.faults.length > 0) log.warn({ faults: pruned.faults.slice(0, 10) }, 'artifacts that could not be removed');
  const sizes = new Map([['artifacts', pruned.leftBytes]]);
  for (const name of MEASURED) sizes.set(name, await folderSize(join(home, name), signal));
  if (signal.aborted) return;
  const unknown = [...sizes].filter(([, size]) => size === null).map(([name]) => name);
  if (unknown.length > 0) {
    // What was told last stands, with its time.
    log.warn({ folders: unknown, home }, 'how much disk these take cannot be told; none is told');
    return;
  }
  const bytes = (name: string) => sizes.get(name) ?? 0;
  await uses.write(host, {
    artifactsBytes: bytes('artifacts'),
    // Both are what is kept of repositories between attempts.
    mirrorsBytes: bytes('mirrors') + bytes('remotes'),
    cellsBytes: bytes('cells') + bytes('discarded') + bytes('spares') + bytes('landings'),
    cachesBytes: bytes('caches'),
    redisBytes: bytes('redis'),
    at: Date.now(),
  });
}
