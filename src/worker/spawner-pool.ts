/** One spawner a repository, prepared when the first job for it comes; all share the ports and the boot limit. */
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import { AgentSpawner } from '../cell/agent-spawner.ts';
import type { Registration } from '../cell/registration.ts';
import { openSite, type SiteOptions, type SpawnerSite } from '../cell/spawner-site.ts';
import { WarmUpModel } from '../cell/warm-up-model.ts';
import type { Settings } from '../config.ts';
import type { Logger } from '../observe/logger.ts';
import { whileWanted } from '../os/within.ts';
import type { PortLeases } from '../redis/port-lease.ts';

export interface PooledSpawner {
  spawner: AgentSpawner;
  site: SpawnerSite;
}

export interface OpenedSpawner {
  repository: string;
  spawner: AgentSpawner;
  /** False once the repository was opened anew: no task asks this one for a cell any more. */
  isCurrent: boolean;
}

type PoolSite = Omit<SiteOptions, 'repository'>;

export class SpawnerPool {
  readonly #options: PoolSite;
  readonly #ports: PortLeases;
  readonly #registry: Registration;
  readonly #boots = pLimit(Math.max(2, availableParallelism()));
  readonly #spawners = new Map<string, Promise<PooledSpawner>>();
  /** All that there ever were: one whose repository went away may have cells still. */
  #opened: OpenedSpawner[] = [];
  readonly #warmUps = new WarmUpModel();

  constructor(options: PoolSite, ports: PortLeases, registry: Registration) {
    this.#options = options;
    this.#ports = ports;
    this.#registry = registry;
  }

  /**
   * @throws {CellpoolError} as `openSite`. The signal's reason on abort, which ends the waiting and not the opening:
   * others may wait for it, too.
   */
  of(repository: string, signal?: AbortSignal): Promise<PooledSpawner> {
    return whileWanted(signal, this.#of(repository));
  }

  get opened(): readonly OpenedSpawner[] {
    return this.#opened;
  }

  async #of(repository: string): Promise<PooledSpawner> {
    const known = this.#spawners.get(repository);
    const pooled = await known;
    if (pooled !== undefined && (await isThere(pooled))) return pooled;
    // Somebody else may have begun to open it anew while we looked.
    const other = this.#spawners.get(repository);
    return other === undefined || other === known ? this.#open(repository) : other;
  }

  #open(repository: string): Promise<PooledSpawner> {
    const opening = openSite({ ...this.#options, repository }).then(site => {
      const shared = { ports: this.#ports, registry: this.#registry, boots: this.#boots, warmUps: this.#warmUps };
      const spawner = new AgentSpawner({ site, ...shared });
      const others = this.#opened.map(one => (one.repository === repository ? { ...one, isCurrent: false } : one));
      const kept = others.filter(one => one.isCurrent || one.spawner.prepared.length > 0);
      this.#opened = [...kept, { repository, spawner, isCurrent: true }];
      return { spawner, site };
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

/** What all sites of a worker have in common. */
export function siteOptionsOf(settings: Settings, log: Logger): PoolSite {
  const { home, opencodeBin, opencode, author, env, isolation, workspace } = settings;
  const { bootMs, setupMs, testMs, memoryMb, pids, cpus, diskMb } = settings.limits;
  const bounds = { bootMs, setupMs, testMs, limits: { memoryMb, pids, cpus, diskMb } };
  const { level, readable } = isolation;
  return { home, opencodeBin, opencode, author, ...bounds, isolation: level, readable, workspace, env, log };
}
