/**
 * Cells that have everything but workspace and agent: a leased port, a record in the registry, stages, what they use,
 * and the fence before their "commit".
 */
import { randomBytes } from 'node:crypto';

const LEASE_MS = 60_000;
const COMMIT = '0'.repeat(40);
const nothing = async () => undefined;

export class NoOpSpawner {
  host;
  redactor;
  #ports;
  #cells;
  #worker;
  #home;

  constructor({ ports, registry, redactor, home }) {
    this.#ports = ports;
    this.#cells = registry.cells;
    this.#worker = registry.worker;
    this.#home = home;
    this.host = registry.cells.host;
    this.redactor = redactor;
  }

  async spawnAgent({ taskId, attempt, job }) {
    const cellId = `${taskId}.${randomBytes(4).toString('hex')}`;
    const createdAt = Date.now();
    const began = performance.now();
    await this.#cells.register({
      ...{ version: 1, cellId, host: this.host, home: this.#home, worker: this.#worker, taskId, attempt, job },
      ...{ repository: '/none', mirror: '/none', workspace: '/none', artifacts: '', isolation: 'process' },
      ...{ port: null, server: null, stage: 'spawn', abandoned: false, createdAt },
    });
    const lease = await this.#ports.acquire(cellId, LEASE_MS);
    await this.#cells.update(cellId, { port: lease });
    return { id: taskId, taskId, lease, began, tokensUsed: 0, cell: { cellId, port: lease.port } };
  }

  getCellInfo() {
    return { artifacts: '', limits: null, isolation: 'process', workspace: 'clone' };
  }

  runHook = nothing;
  setUp = nothing;
  stopServer = nothing;

  async executeTask(agent, _prompt, { onUsage, onProviderWell }) {
    this.#cells.stage(agent.cell.cellId, 'execute');
    onProviderWell();
    agent.tokensUsed = 10;
    onUsage({ tokens: 10, costUsd: 0 });
    return { ended: 'idle', sessionId: null, tokensUsed: 10, costUsd: 0, durationMs: 0, error: null };
  }

  async hasChanges() {
    return true;
  }

  async commitChanges(agent, _message, { fence }) {
    this.#cells.stage(agent.cell.cellId, 'settle');
    if (!(await this.#ports.renew(agent.lease, LEASE_MS))) throw new Error('the lease was lost');
    await fence();
    const branch = `cellpool/${agent.taskId}`;
    return { committed: true, commit: COMMIT, branch, filesModified: [], secretInWork: false };
  }

  async teardownAgent({ cell, lease, began }) {
    const totalMs = performance.now() - began;
    await this.#ports.release(lease);
    await this.#cells.erase(cell.cellId);
    return { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: Math.round(totalMs) };
  }
}
