/** One level: a cell for each attack on what the machine has, watched from outside. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { groupsLeft } from '../support/groups-left.ts';
import { mountSmallDisk, noSmallDisk } from '../support/small-disk.ts';
import { isTried, type Verdict } from './attack.ts';
import type { LimitAttack, Watched } from './on-limits.ts';
import type { Verdicts } from './run.ts';
import { FOLDER } from './worker-setup.ts';

const MINUTE = 60_000;
const MIB = 1024 * 1024;
const LOOK_MS = 100;
/** So long an endless attack goes on after it has come to its height. */
const HEIGHT_MS = 2_000;
/** Whoever is root has it filled instead of the disk; a little more than the attack on it may take. */
const SMALL_DISK = '768m';

export async function runLimits(level: IsolationLevel, attacks: readonly LimitAttack[]): Promise<Verdicts> {
  const tried = attacks.filter(attack => isTried(attack, level));
  const base = mkdtempSync(join(process.env[FOLDER] ?? '', 'limits-'));
  const before = process.env.TMPDIR;
  process.env.TMPDIR = base;
  const disk = noSmallDisk() === null ? mountSmallDisk(SMALL_DISK) : null;
  try {
    const home = join(disk?.folder ?? base, 'state');
    const cells = await startTestCells({ isolation: level, bootMs: 5 * MINUTE, home }).finally(() => {
      process.env.TMPDIR = before;
    });
    try {
      const verdicts: Verdicts = {};
      for (const attack of tried) verdicts[attack.id] = await attackWith(cells, attack);
      return verdicts;
    } finally {
      await cells.close();
    }
  } finally {
    process.env.TMPDIR = before;
    disk?.remove();
    rmSync(base, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function attackWith(cells: TestCells, attack: LimitAttack): Promise<Verdict> {
  const spawner = cells.spawnerWith({ limits: { cpus: null, ...attack.limits } });
  const config = { agentId: attack.id, taskId: attack.id, model: SCRIPTED_MODEL, timeoutMs: 5 * MINUTE };
  const eyes = new Eyes(cells.site.home);
  const agent = await spawner.spawnAgent(config);
  try {
    const over = new AbortController();
    const watching = eyes.watch(attack, over);
    const session = await spawner.executeTask(agent, `Try.\n\n${script([{ run: attack.shell }])}`, {
      signal: over.signal,
    });
    over.abort();
    await watching;
    if (session.error !== null && session.ended !== 'cancelled') eyes.seen.errorCode = session.error.code;
    await spawner.stopServer(agent);
  } finally {
    await spawner.teardownAgent(agent);
  }
  const { seen } = eyes;
  seen.left = [...cells.cellFolders(), ...groupsLeft(cells.site.home), ...cells.processes().map(one => one.command)];
  if (process.env.VERBOSE) process.stdout.write(`--- ${attack.id} ${JSON.stringify(seen)}\n`);
  if (!attack.tried(seen)) throw new Error(`${attack.id} never came to its height: ${JSON.stringify(seen)}`);
  expect(await cells.leases()).toEqual([]);
  return attack.reached(seen) ? 'possible' : 'contained';
}

/** Looks at the host and at the kernel's account of the cell. */
class Eyes {
  readonly seen: Watched = {
    errorCode: null,
    couldFork: true,
    peakPids: 0,
    peakMemory: 0,
    memoryFallen: 0,
    sharedRisen: 0,
    diskTaken: 0,
    left: [],
  };
  readonly #home: string;
  readonly #before: { memory: number; shared: number; disk: number };

  constructor(home: string) {
    this.#home = home;
    this.#before = { memory: ofHost('MemAvailable'), shared: ofHost('Shmem'), disk: freeOf(home) };
  }

  /** Until `over`; ends an endless attack by it. */
  async watch(attack: LimitAttack, over: AbortController): Promise<void> {
    let height: number | null = null;
    while (!over.signal.aborted) {
      await this.#look();
      if (attack.endless && attack.tried(this.seen)) height ??= performance.now();
      if (height !== null && performance.now() - height > HEIGHT_MS) over.abort();
      await sleep(LOOK_MS);
    }
  }

  async #look(): Promise<void> {
    const { seen } = this;
    const more = (name: 'peakPids' | 'peakMemory' | 'memoryFallen' | 'sharedRisen' | 'diskTaken', value: number) => {
      seen[name] = Math.max(seen[name], Math.round(value));
    };
    for (const group of groupsLeft(this.#home)) {
      more('peakPids', numberIn(group, 'pids.current'));
      for (const file of ['memory.max_usage_in_bytes', 'memory.peak', 'memory.current']) {
        more('peakMemory', numberIn(group, file) / MIB);
      }
    }
    more('memoryFallen', this.#before.memory - ofHost('MemAvailable'));
    more('sharedRisen', ofHost('Shmem') - this.#before.shared);
    more('diskTaken', this.#before.disk - freeOf(this.#home));
    const forked = await promisify(execFile)('true').then(
      () => true,
      () => false,
    );
    if (!forked) seen.couldFork = false;
  }
}

/** In MiB. */
function ofHost(name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) / 1024;
}

function freeOf(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return (bavail * bsize) / MIB;
}

/** 0 where the kernel has no such file, or it is gone. */
function numberIn(group: string, file: string): number {
  try {
    return Number(readFileSync(join(group, file), 'utf8')) || 0;
  } catch {
    return 0;
  }
}
