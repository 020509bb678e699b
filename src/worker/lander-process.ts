/** A process that lands and does nothing else: with no cells of its own, and otherwise a worker like any other. */
import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { Settings } from '../config.ts';
import type { Logger } from '../observe/logger.ts';
import type { Redactor } from '../observe/redact.ts';
import { ownIdentity } from '../os/identity.ts';
import { chooseIsolation, type Isolation } from '../os/isolation.ts';
import { makeStateFolder } from '../os/state-folder.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { CellRegistry } from '../redis/registry.ts';
import type { Lander, LanderOptions } from './lander.ts';
import { landerOf } from './lander-parts.ts';
import { redisParts } from './redis-parts.ts';
import { REMOVE_MS, Removals } from './removals.ts';
import { SpawnerPool, siteOptionsOf } from './spawner-pool.ts';
import { Upkeep } from './upkeep.ts';

export interface LanderProcessOptions extends Pick<LanderOptions, 'eager' | 'onFate' | 'onHeld'> {
  settings: Settings;
  /** A connection of the worker role; it stays the caller's. */
  redis: Redis;
  log: Logger;
  redactor: Redactor;
}

export interface LanderProcess {
  lander: Lander;
  /** How far the places of its tests are kept from this machine. */
  isolation: Isolation;
  /** Aborted when somebody (`cellpool drain`) wants it to begin nothing more. */
  drainAsked: AbortSignal;
  /** Cuts short what is at work. */
  end(): Promise<void>;
}

/**
 * What dead workers of this host have left is removed before it returns.
 * @throws {CellpoolError} ISOLATION_MISSING, STATE_FOLDER
 */
export async function startLander({
  settings,
  redis,
  log,
  redactor,
  ...told
}: LanderProcessOptions): Promise<LanderProcess> {
  const { home, host, prefix, isolation } = settings;
  const worker = { id: `${host}.${randomBytes(4).toString('hex')}`, ...(await ownIdentity()) };
  const chosen = await chooseIsolation(isolation.level, isolation.readable);
  await makeStateFolder(home);
  const parts = redisParts(redis, { prefix, log, labels: settings.labels });
  const registry = new CellRegistry(redis, { prefix, host, home });
  const ports = new PortLeases(redis, { prefix, host, range: settings.ports });
  const removals = new Removals({ home, owner: worker, log });
  const registration = { cells: registry, worker };
  const site = { ...siteOptionsOf(settings, log), redactor, discard: (dir: string) => removals.take(dir) };
  const spawners = new SpawnerPool(site, ports, registration);
  const lander = landerOf({ settings, redis, parts, spawners, registration, log, redactor, ...told });
  const drain = new AbortController();
  const { queue, landings, dependencies, slots } = parts;
  const upkeep = new Upkeep({
    ...{ redis, log, redactor, worker, registry, ports, queue, landings, dependencies, slots, removals },
    // It works on no task, so nobody is to count on what this machine has.
    settings: { ...settings, labels: [] },
    facts: () => ({ concurrency: 0, running: new Map(), draining: drain.signal.aborted }),
    onCancel: () => undefined,
    onDrain: () => drain.abort(),
    onAside: () => undefined,
  });
  const end = async () => {
    await lander.stop();
    await removals.end(REMOVE_MS.stop);
    await upkeep.end();
  };
  await upkeep.begin().catch(async error => {
    await end();
    throw error;
  });
  return { lander, isolation: chosen, drainAsked: drain.signal, end };
}
