/** `cellpool fleet`: the hosts and their cells, and how many there may be, shown and set. */
import type { Fault } from '../errors.ts';
import { type FleetCaps, type FleetState, Slots } from '../redis/slots.ts';
import { type WorkerEntry, WorkerList } from '../redis/worker-list.ts';
import { withRedis } from './connected.ts';
import { refuse } from './faults.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { printable, table } from './words.ts';

export interface FleetFlags extends CommonFlags {
  json?: boolean;
  cells?: string;
  hostCells?: string;
}

/** More than anybody has; what is larger was mistyped. */
const CELLS_MAX = 100_000;

type Changes = { [Name in keyof FleetCaps]?: number | null };

/** @throws {InvalidInput} naming every fault */
function changesOf({ cells, hostCells }: FleetFlags): Changes {
  const faults: Fault[] = [];
  const changes: Changes = {};
  for (const [flag, name, text] of [
    ['--cells', 'cells', cells],
    ['--host-cells', 'hostCells', hostCells],
  ] as const) {
    if (text === undefined) continue;
    const value = text.trim() === 'off' ? null : /^\s*\d+\s*$/.test(text) ? Number(text) : Number.NaN;
    if (value === null || value <= CELLS_MAX) changes[name] = value;
    else faults.push({ where: flag, what: `is a whole number or off, not ${JSON.stringify(text.slice(0, 40))}` });
  }
  if (faults.length === 0 && Object.keys(changes).length === 0) {
    faults.push({ where: 'fleet set', what: 'name at least one of --cells and --host-cells' });
  }
  refuse(faults);
  return changes;
}

/** Shows hosts, cells and caps. */
export function showFleet(flags: FleetFlags): Promise<number> {
  return fleet(flags, null);
}

/** Sets what the flags name, and shows what is then. */
export async function setFleet(flags: FleetFlags): Promise<number> {
  return fleet(flags, changesOf(flags));
}

async function fleet(flags: FleetFlags, changes: Changes | null): Promise<number> {
  const settings = settingsOf(flags);
  const { prefix } = settings;
  return interruptible(async stop => {
    const text = await withRedis(
      settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const slots = new Slots(redis, { prefix });
        if (changes !== null) await slots.set(changes);
        const [state, workers] = await Promise.all([slots.list(), new WorkerList(redis, { prefix }).list()]);
        return flags.json === true ? inJson(state, workers) : inWords(state, workers);
      },
      stop.asked,
    );
    process.stdout.write(`${text}\n`);
    return 0;
  });
}

interface HostFacts {
  host: string;
  workers: number;
  cells: number;
  /** Of any of its workers. */
  labels: string[];
}

function hostsOf({ slots }: FleetState, workers: readonly WorkerEntry[]): HostFacts[] {
  const names = new Set([...slots, ...workers].map(({ host }) => host));
  return [...names].sort().map(host => ({
    host,
    workers: workers.filter(one => one.host === host).length,
    cells: slots.filter(one => one.host === host).length,
    labels: [...new Set(workers.flatMap(one => (one.host === host ? (one.labels ?? []) : [])))].sort(),
  }));
}

function inJson(state: FleetState, workers: readonly WorkerEntry[]): string {
  const { cells, hostCells, settlingMs, slots } = state;
  return JSON.stringify({
    cells: { used: slots.length, cap: cells },
    hostCells: { cap: hostCells },
    settlingMs,
    hosts: hostsOf(state, workers),
  });
}

function inWords(state: FleetState, workers: readonly WorkerEntry[]): string {
  const { cells, hostCells, settlingMs, slots } = state;
  const cap = (most: number | null) => (most === null ? '-' : String(most));
  const rows = hostsOf(state, workers).map(one => [
    printable(one.host),
    String(one.workers),
    String(one.cells),
    cap(hostCells),
    one.labels.join(', ') || '-',
  ]);
  return [
    table(
      ['HOST', 'WORKERS', 'CELLS', 'CAP', 'LABELS'],
      [...rows, ['(all)', String(workers.length), String(slots.length), cap(cells), '-']],
    ),
    ...(settlingMs > 0 && (cells ?? hostCells) !== null
      ? ['', 'Redis was started anew: cells are begun again soon.']
      : []),
  ].join('\n');
}
