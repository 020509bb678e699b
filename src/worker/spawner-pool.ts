/** One spawner a repository, prepared when the first job for it comes; all share the ports and the boot limit. */
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import { AgentSpawner } from '../cell/agent-spawner.ts';
import type { Registration } from '../cell/spawn.ts';
import { openSite, type SiteOptions, type SpawnerSite } from '../cell/spawner-site.ts';
import type { PortLeases } from '../redis/port-lease.ts';

export interface PooledSpawner {
  spawner: AgentSpawner;
  site: SpawnerSite;
}

export class SpawnerPool {
  readonly #options: Omit<SiteOptions, 'repository'>;
  readonly #ports: PortLeases;
  readonly #registry: Registration;
  readonly #boots = pLimit(Math.max(2, availableParallelism()));
  readonly #spawners = new Map<string, Promise<PooledSpawner>>();

  constructor(options: Omit<SiteOptions, 'repository'>, ports: PortLeases, registry: Registration) {
    this.#options = options;
    this.#ports = ports;
    this.#registry = registry;
  }

  /** @throws {CellpoolError} NOT_A_REPOSITORY, OPENCODE_MISSING, GIT_MISSING, STATE_FOLDER */
  async of(repository: string): Promise<PooledSpawner> {
    const known = this.#spawners.get(repository);
    const pooled = await known;
    if (pooled !== undefined && (await isThere(pooled))) return pooled;
    // Somebody else may have begun to open it anew while we looked.
    const other = this.#spawners.get(repository);
    return other === undefined || other === known ? this.#open(repository) : other;
  }

  #open(repository: string): Promise<PooledSpawner> {
    const opening = openSite({ ...this.#options, repository }).then(site => {
      const shared = { ports: this.#ports, registry: this.#registry, boots: this.#boots };
      return { spawner: new AgentSpawner({ site, ...shared }), site };
    });
    this.#spawners.set(repository, opening);
    // What was missing may be there for the next job.
    opening.catch(() => this.#spawners.delete(repository));
    return opening;
  }
}

/** A repository that goes away, say with the disk it is on, costs no attempts: opening it anew says what is missing. */
function isThere({ site }: PooledSpawner): Promise<boolean> {
  return stat(site.source.gitDir).then(
    () => true,
    () => false,
  );
}
