/**
 * Looks again and again at processes, leases and registries while the run goes on, for what must never be: a worker
 * over its cap, a port with two users. A look takes time, so a breach counts only when those in it are seen again
 * after everything was read: then they were there at one time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { recordsOnDisk } from './eyes.mjs';
import { ancestorOf, isAlive, processTable, serversIn } from './processes.mjs';

const LOOK_MS = 250;
const EVENTS_EVERY = 8;

export class Watch {
  looks = 0;
  /** Looks for which Redis did not answer. */
  blind = 0;
  peakServers = 0;
  overCap = new Set();
  portBreaches = new Set();
  /** By task id: the events of its ends, by their place in the stream. */
  endings = new Map();
  #run;
  #lastEvent = null;
  #over = new AbortController();
  #loop = null;

  constructor(run) {
    this.#run = run;
  }

  start() {
    this.#loop = this.#look();
  }

  async stop() {
    this.#over.abort();
    await this.#loop;
    await this.#readEvents();
  }

  async #look() {
    while (!this.#over.signal.aborted) {
      const servers = this.#lookAtProcesses();
      this.#lookAtDisk();
      await this.#lookAtPorts(servers).catch(() => {
        this.blind += 1;
      });
      if (this.looks % EVENTS_EVERY === 0) await this.#readEvents().catch(() => undefined);
      this.looks += 1;
      await sleep(LOOK_MS, undefined, { signal: this.#over.signal }).catch(() => undefined);
    }
  }

  #lookAtProcesses() {
    const workers = this.#run.workers.living();
    const table = processTable();
    const servers = serversIn(table, this.#run.world.folder).filter(isAlive);
    this.peakServers = Math.max(this.peakServers, servers.length);
    const { cap } = this.#run.workers;
    if (servers.length > cap) this.overCap.add(`${servers.length} servers, ${cap} allowed in all`);
    const roots = new Set(workers.map(({ pid }) => pid));
    const owned = servers.map(({ pid }) => ancestorOf(table, pid, roots));
    for (const { pid, name, concurrency } of workers) {
      const count = owned.filter(root => root === pid).length;
      if (count > concurrency) this.overCap.add(`${name} (pid ${pid}): ${count} servers, ${concurrency} allowed`);
    }
    const byPort = groupBy(servers);
    for (const [port, users] of byPort) {
      const living = users.length > 1 ? users.filter(isAlive) : [];
      if (living.length > 1)
        this.portBreaches.add(`port ${port}: servers of ${living.map(one => one.cell).join(', ')}`);
    }
    return servers;
  }

  #lookAtDisk() {
    const { concurrency } = this.#run.plan;
    for (const host of this.#run.world.hosts) {
      const counts = new Map();
      for (const { worker, abandoned } of recordsOnDisk(host)) {
        if (abandoned || !isAlive(worker)) continue;
        counts.set(worker.id, (counts.get(worker.id) ?? 0) + 1);
      }
      for (const [id, count] of counts) {
        if (count > concurrency) this.overCap.add(`${id}: ${count} cells registered, ${concurrency} allowed`);
      }
    }
  }

  /** Every living server must hold the lease of its port, and so must have nobody else. */
  async #lookAtPorts(servers) {
    const leases = await this.#run.eyes.leases();
    const owners = new Map();
    for (const { port, owner } of leases) {
      if (owners.has(port)) this.portBreaches.add(`port ${port}: leased to ${owners.get(port)} and ${owner}`);
      owners.set(port, owner);
    }
    for (const server of servers) {
      const owner = owners.get(server.port);
      if (owner === server.cell || !isAlive(server)) continue;
      this.portBreaches.add(`port ${server.port}: used by ${server.cell}, leased to ${owner ?? 'nobody'}`);
    }
  }

  async #readEvents() {
    for (const { at, id, event } of await this.#run.eyes.endings(this.#lastEvent)) {
      this.#lastEvent = at;
      if (event !== 'completed' && event !== 'failed') continue;
      const known = this.endings.get(id) ?? new Map();
      this.endings.set(id, known.set(at, event));
    }
  }
}

function groupBy(servers) {
  const groups = new Map();
  for (const one of servers) groups.set(one.port, [...(groups.get(one.port) ?? []), one]);
  return groups;
}
