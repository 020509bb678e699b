/** Where a cell is entered before it exists, and by whom. */
import { join } from 'node:path';
import type { CellRecord } from '../redis/cell-record.ts';
import type { CellRegistry } from '../redis/registry.ts';
import type { SpawnerSite } from './spawner-site.ts';

export interface Registration {
  cells: CellRegistry;
  worker: CellRecord['worker'];
}

/** What the registry says of the attempt; of a cell without a task, that there is none. */
export type RecordedTask = Pick<CellRecord, 'taskId' | 'attempt' | 'job'>;

export interface NewCell {
  id: string;
  task: RecordedTask;
  site: SpawnerSite;
  artifacts: string;
  stage: CellRecord['stage'];
}

/** @throws the file system's error, or that of Redis */
export function register(
  { cells, worker }: Registration,
  { id, task, site, artifacts, stage }: NewCell,
): Promise<void> {
  return cells.register({
    version: 1,
    cellId: id,
    host: cells.host,
    home: site.home,
    worker,
    ...task,
    repository: site.source.path,
    mirror: site.mirror.path,
    artifacts,
    isolation: site.grounds.isolation.level,
    workspace: join(site.home, 'cells', id, 'workspace'),
    port: null,
    server: null,
    stage,
    abandoned: false,
    createdAt: Date.now(),
  });
}
