/**
 * The cell registry: what a host's cells consist of, written before each thing exists and erased after all of it is
 * gone, so that what a crash leaves can be found and removed. It stands in Redis, where everybody can see it, and on
 * disk below the state folder, which a Redis that forgets does not touch.
 */
import { mkdir, readdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { wholeFile } from '../os/whole-file.ts';
import { type CellRecord, type CellStage, isCellId, understoodRecord } from './cell-record.ts';
import { type CellKeys, cellKeys, DEFAULT_PREFIX, hostsKey } from './keys.ts';
import { Script } from './script.ts';
import { inTurn } from './turn.ts';

/** KEYS: records, beats. ARGV: cell id, record, epoch ms. */
const enter = new Script(`
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
`);
/** KEYS: hashes. ARGV: cell id. */
const erase = new Script(`
for _, key in ipairs(KEYS) do redis.call('HDEL', key, ARGV[1]) end
return 1
`);
/** Milliseconds for which a host that was entered need not be entered again for a further cell. */
const HOST_MS = 1_000;

/** What stands in the registry under one cell id; a record that cannot be understood has a `fault` instead. */
export type RegistryEntry = {
  cellId: string;
  /** Epoch ms of the last sign of life in Redis; null without one. */
  beatAt: number | null;
  onDisk: boolean;
  inRedis: boolean;
} & ({ record: CellRecord; fault: null } | { record: null; fault: string });

export interface RegistryOptions {
  prefix?: string;
  host: string;
  home: string;
}

export class CellRegistry {
  readonly host: string;
  readonly home: string;
  readonly #redis: Redis;
  readonly #keys: CellKeys;
  readonly #hosts: string;
  readonly #folder: string;
  /** Cells of this process. */
  readonly #own = new Map<string, CellRecord>();
  /** When the host was entered last. */
  #enteredAt = Number.NEGATIVE_INFINITY;

  constructor(redis: Redis, { prefix = DEFAULT_PREFIX, host, home }: RegistryOptions) {
    this.#redis = redis;
    this.#keys = cellKeys(prefix, host);
    this.#hosts = hostsKey(prefix);
    this.host = host;
    this.home = home;
    this.#folder = join(home, 'registry');
  }

  /** The cells of this process. */
  get own(): readonly CellRecord[] {
    return [...this.#own.values()];
  }

  /** Enters a cell of which nothing exists yet. @throws the file system's error, or that of Redis */
  async register(record: CellRecord): Promise<void> {
    this.#own.set(record.cellId, record);
    if (!(await this.#toDisk(record))) return;
    const now = String(Date.now());
    const isKnown = performance.now() - this.#enteredAt < HOST_MS;
    await Promise.all([
      isKnown ? undefined : this.#enterHost(now),
      enter.run(this.#redis, [this.#keys.records, this.#keys.beats], [record.cellId, JSON.stringify(record), now]),
    ]);
  }

  /** Enters what became known of a cell of this process. Harmless for one that is not. */
  async update(
    cellId: string,
    changes: Partial<Omit<CellRecord, 'version' | 'cellId' | 'host' | 'home' | 'worker'>>,
  ): Promise<void> {
    const before = this.#own.get(cellId);
    if (before === undefined) return;
    const record = { ...before, ...changes };
    this.#own.set(cellId, record);
    if (!(await this.#toDisk(record))) return;
    await this.#redis.hset(this.#keys.records, cellId, JSON.stringify(record));
  }

  /** Tells the stage of a cell of this process; news for people, so a failure is not worth an attempt. */
  stage(cellId: string, stage: CellStage): void {
    const before = this.#own.get(cellId);
    if (before === undefined || before.stage === stage) return;
    const record = { ...before, stage };
    this.#own.set(cellId, record);
    this.#redis.hset(this.#keys.records, cellId, JSON.stringify(record)).catch(() => undefined);
  }

  /** Leaves what could not be removed of a cell of this process to the reaper. */
  async abandon(cellId: string): Promise<void> {
    await this.update(cellId, { abandoned: true });
    this.#own.delete(cellId);
  }

  /** Takes a cell out, of whatever process; call it when nothing of it is left. Redis last: it may be away. */
  async erase(cellId: string): Promise<void> {
    if (!isCellId(cellId)) return;
    this.#own.delete(cellId);
    await removeFile(this.#path(cellId));
    const { records, beats, memory } = this.#keys;
    await erase.run(this.#redis, [records, beats, memory], [cellId]);
  }

  /** Says that this process lives and has its cells; to be repeated every few seconds. */
  async beat(): Promise<void> {
    if (this.#own.size === 0) return;
    const now = String(Date.now());
    await Promise.all([
      this.#enterHost(now),
      this.#redis.hset(this.#keys.beats, Object.fromEntries([...this.#own.keys()].map(id => [id, now]))),
    ]);
  }

  /** Where others look for hosts that have cells; see `FleetCells`. Again at each beat: Redis may forget. */
  async #enterHost(now: string): Promise<void> {
    await this.#redis.zadd(this.#hosts, now, this.host);
    this.#enteredAt = performance.now();
  }

  /**
   * All entries of this host: those in Redis, and those on disk below this state folder. Of the cells of this process it
   * is known what stands there, so that a worker with many of them does not read its own files every other second.
   */
  async list(): Promise<RegistryEntry[]> {
    const ours = new Map(this.#own);
    const [inRedis, beats, onDisk] = await Promise.all([
      this.#redis.hgetall(this.#keys.records),
      this.#redis.hgetall(this.#keys.beats),
      this.#readDisk(ours),
    ]);
    const ids = new Set([...Object.keys(inRedis), ...onDisk.keys()]);
    return [...ids].sort().map(cellId => {
      // The disk's own copy counts: nobody else can have written it, and it is behind in the stage only.
      const text = onDisk.get(cellId) ?? inRedis[cellId] ?? '';
      const beat = Number(beats[cellId]);
      const common = {
        cellId,
        beatAt: Number.isFinite(beat) ? beat : null,
        onDisk: onDisk.has(cellId),
        inRedis: inRedis[cellId] !== undefined,
      };
      const own = ours.get(cellId);
      return { ...common, ...(own === undefined ? understoodRecord(cellId, text) : { record: own, fault: null }) };
    });
  }

  /** Runs `work` unless another reaper of this host is at work; null then. */
  reapInTurn<T>(work: () => Promise<T>): Promise<{ result: T } | null> {
    return inTurn(this.#redis, this.#keys.reaper, work);
  }

  /** Without the text of those that are known. */
  async #readDisk(known: ReadonlyMap<string, unknown>): Promise<Map<string, string>> {
    const names = await readdir(this.#folder).catch(() => []);
    const found = new Map<string, string>();
    for (const name of names.filter(one => one.endsWith('.json'))) {
      const cellId = name.slice(0, -'.json'.length);
      const text = known.has(cellId) ? '' : await readFile(join(this.#folder, name), 'utf8').catch(() => null);
      if (text !== null) found.set(cellId, text);
    }
    return found;
  }

  /**
   * Whole or not at all: a crash or a full disk must not leave half a record in place of a good one. False when the
   * cell was erased meanwhile, which leaves no record.
   */
  async #toDisk(record: CellRecord): Promise<boolean> {
    const path = this.#path(record.cellId);
    const write = () => wholeFile(path, unfinished => writeFile(unfinished, JSON.stringify(record), { mode: 0o600 }));
    await write().catch(async error => {
      if (error.code !== 'ENOENT') throw error;
      // The first one, or the folder was removed.
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await write();
    });
    if (this.#own.has(record.cellId)) return true;
    await removeFile(path);
    return false;
  }

  #path(cellId: string): string {
    return join(this.#folder, `${cellId}.json`);
  }
}

/** Harmless when it is not there. */
async function removeFile(path: string): Promise<void> {
  await unlink(path).catch(error => {
    if (error.code !== 'ENOENT') throw error;
  });
}
