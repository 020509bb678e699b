/** What a dead worker left of a cell: a state folder with the cell's own folder, its artifacts, and its record. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CellRecord } from '../../src/redis/cell-record.ts';
import { tempFolder } from './repository.ts';

/** Call it within a test. */
export function leftBehind(more: Partial<CellRecord> = {}) {
  const cellId = 'orphan.0123abcd';
  const home = tempFolder('home');
  const artifacts = join(home, 'artifacts', 'orphan', '2-0123abcd');
  const cell = join(home, 'cells', cellId);
  for (const name of ['workspace', 'home', 'tmp']) mkdirSync(join(cell, name), { recursive: true });
  mkdirSync(artifacts, { recursive: true });
  const workspace = join(cell, 'workspace');
  const record: CellRecord = {
    version: 1,
    cellId,
    host: 'test',
    home,
    worker: { id: 'w', pid: 1, startTime: '1', bootId: 'b', pidNamespace: 'n' },
    taskId: 'orphan',
    attempt: 2,
    job: null,
    repository: '/nowhere',
    mirror: '/nowhere',
    artifacts,
    workspace,
    isolation: 'process',
    port: { port: 9001, token: 't' },
    server: null,
    stage: 'execute',
    abandoned: false,
    createdAt: 1,
    ...more,
  };
  return { record, artifacts, cell, workspace };
}
