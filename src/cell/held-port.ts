/** A leased port that is kept: renewed while the cell lives, exchanged when a stranger sits on it, given back last. */
import { setTimeout as sleep } from 'node:timers/promises';
import getPort, { clearLockedPorts } from 'get-port';
import { CellpoolError, messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import { TooLate, whileWanted, within } from '../os/within.ts';
import type { PortLease, PortLeases } from '../redis/port-lease.ts';

/** A lease outlives this long without renewal; then it may be reclaimed, once its owner is proven dead. */
const LEASE_TTL_MS = 60_000;
const RENEW_MS = 15_000;
/** A port that a stranger uses is not offered again so soon. */
const OCCUPIED_COOLDOWN_MS = 60_000;
/** More strangers than this in a row: the range is not ours to use. */
const MAX_OCCUPIED = 20;
/** A Redis that is there has given a port, and taken it back, long before this. */
const GIVE_BACK_MS = 2_000;
/** So long a commit waits for Redis to say that the lease is ours. */
const PROOF_MS = 2_000;

export const LOOPBACK = '127.0.0.1';

export class HeldPort {
  readonly #ports: PortLeases;
  readonly #owner: string;
  readonly #log: Logger;
  readonly #lost = new AbortController();
  #lease: PortLease;
  #timer: NodeJS.Timeout;
  #released = false;
  #unwanted = false;

  private constructor(ports: PortLeases, owner: string, log: Logger, lease: PortLease) {
    this.#ports = ports;
    this.#owner = owner;
    this.#log = log;
    this.#lease = lease;
    this.#timer = setInterval(() => void this.#renew(), RENEW_MS).unref();
  }

  /**
   * Leases a port that can be bound right now. One that comes after `signal` was aborted is given back: Redis may have
   * been away for long. @throws {CellpoolError} NO_FREE_PORT; the reason of the signal
   */
  static async take(ports: PortLeases, owner: string, log: Logger, signal?: AbortSignal): Promise<HeldPort> {
    const leasing = leaseBindable(ports, owner, log);
    try {
      return new HeldPort(ports, owner, log, await whileWanted(signal, leasing));
    } catch (error) {
      const givenBack = leasing.then(lease => ports.release(lease)).catch(() => undefined);
      await Promise.race([givenBack, sleep(GIVE_BACK_MS, undefined, { ref: false })]);
      throw error;
    }
  }

  get lease(): PortLease {
    return this.#lease;
  }

  /** Aborted when Redis says that the lease is no longer ours. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Gives up a port that turned out to be occupied and leases another. @throws {CellpoolError} NO_FREE_PORT */
  async exchange(): Promise<void> {
    const occupied = this.#lease;
    const next = await leaseBindable(this.#ports, this.#owner, this.#log);
    // Given up while Redis let us wait: nobody else would give this one back.
    if (this.#unwanted) return void (await this.#ports.release(next));
    this.#lease = next;
    await this.#ports.release(occupied, OCCUPIED_COOLDOWN_MS);
  }

  /**
   * Returns when Redis has said just now that the lease is ours; it is renewed with that.
   * @throws {CellpoolError} LEASE_LOST when it is not; FENCED when there is no answer within 2 s
   */
  async prove(): Promise<void> {
    const { port } = this.#lease;
    const held = await within(PROOF_MS, undefined, () => this.#ports.renew(this.#lease, LEASE_TTL_MS)).catch(error => {
      // No `cause`: errors of ioredis carry the arguments of the command.
      const why = error instanceof TooLate ? error.message : `Redis failed: ${messageOf(error)}`;
      throw new CellpoolError('FENCED', `whether the lease of port ${port} is still ours is not known: ${why}`, {
        hint: 'Nothing to do: the task runs again.',
        facts: { port, why },
      });
    });
    if (held && !this.#lost.signal.aborted) return;
    this.#lost.abort();
    throw new CellpoolError('LEASE_LOST', `the lease of port ${port} was lost`, { facts: { port } });
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    this.#unwanted = true;
    if (this.#released) return;
    await this.#ports.release(this.#lease);
    this.#released = true;
  }

  async #renew(): Promise<void> {
    try {
      if (!this.#released && !(await this.#ports.renew(this.#lease, LEASE_TTL_MS))) this.#lost.abort();
    } catch (error) {
      // Redis is away for now; the lease stays ours until somebody proves us dead, so the next renewal may succeed.
      this.#log.warn({ port: this.#lease.port, problem: messageOf(error) }, 'port lease not renewed');
    }
  }
}

async function leaseBindable(ports: PortLeases, owner: string, log: Logger): Promise<PortLease> {
  for (let tries = 0; tries < MAX_OCCUPIED; tries += 1) {
    const lease = await ports.acquire(owner, LEASE_TTL_MS);
    if (lease === null) break;
    if (await isBindable(lease.port)) return lease;
    log.warn({ port: lease.port }, 'port is in use by a process that is not ours, taking another');
    await ports.release(lease, OCCUPIED_COOLDOWN_MS);
  }
  throw new CellpoolError('NO_FREE_PORT', 'no free port for a cell on this host', {
    hint: 'Set a wider range with --ports, or look for what occupies it: cellpool doctor.',
  });
}

/** Whether a server could listen on this port of the loopback right now. */
export async function isBindable(port: number): Promise<boolean> {
  // get-port remembers what it handed out and would call our own released port occupied; the lease is our lock.
  clearLockedPorts();
  return (await getPort({ port, host: LOOPBACK })) === port;
}
