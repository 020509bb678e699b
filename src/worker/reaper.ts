/**
 * The reaper: gives back the jobs of a worker that crashed on this host, removes what it left, and frees its ports
 * last. It touches nothing of a worker that is not proven dead (see is-dead.ts), and nothing that cellpool did not make. Any
 * number of reapers may run at once.
 */
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { messageOf } from '../errors.ts';
import type { Logger } from '../observe/logger.ts';
import type { ProcessIdentity } from '../os/identity.ts';
import { pidIsTaken, readProcess } from '../os/process-table.ts';
import { type CellRecord, taskNamedBy } from '../redis/cell-record.ts';
import type { HeldPortLease } from '../redis/port-lease.ts';
import type { RegistryEntry } from '../redis/registry.ts';
import type { SlotOwner } from '../redis/slots.ts';
import type { Tally } from '../redis/tally.ts';
import { judge, type LifeFacts } from './is-dead.ts';
import { type DeadCell, giveJobBack, type ReapContext, type ReaperParts, reapCell } from './reap-cell.ts';
import { findTraces, NO_TRACES, reapOrphans, type Traces } from './reap-orphans.ts';
import { type ReapKind, ReapNotes, type ReapReport } from './reap-report.ts';
import { reapSlots, withoutCell } from './reap-slots.ts';

/** Cells at once: most of the time goes into waiting for the disk and for processes to end. */
const CELLS_AT_ONCE = 4;
const JOBS_AT_ONCE = 16;
/** What belongs to no cell is looked for at most this often: it has to be 10 minutes old anyway. */
const TRACES_EVERY_MS = 60_000;
const TURN_POLL_MS = 100;

export interface ReaperOptions extends ReaperParts {
  host: string;
  log: Logger;
  /** Of this process. */
  identity: ProcessIdentity;
  /** Where it is counted what was removed; left out: nowhere. */
  tally?: Tally | undefined;
}

export interface ReapRun {
  /** Changes nothing and tells what would be done. */
  dryRun?: boolean;
  /** How long to wait for another reaper of this host to be done, in milliseconds; default 0. */
  waitMs?: number;
}

/** What there is to decide on. */
interface View {
  readonly entries: readonly RegistryEntry[];
  readonly traces: Traces;
  readonly expired: readonly HeldPortLease[];
  /** Of this host, in the fleet. */
  readonly slots: readonly SlotOwner[];
}

export class Reaper {
  readonly #options: ReaperOptions;
  readonly #hooksRun = new Set<string>();
  /** Cells whose jobs were given back before there was a turn to reap them in. */
  readonly #given = new Set<string>();
  #tracesAt = Number.NEGATIVE_INFINITY;
  #last: Promise<unknown> = Promise.resolve();
  #told = new Set<string>();

  constructor(options: ReaperOptions) {
    this.#options = options;
  }

  /**
   * One round. Without anything to decide it costs three round trips to Redis and a few directory listings. What could
   * not be removed is told among the faults. @throws the error of Redis or of the state folder when one cannot be read
   */
  run({ dryRun = false, waitMs = 0 }: ReapRun = {}): Promise<ReapReport> {
    const round = this.#last.then(() => this.#round(dryRun, waitMs));
    this.#last = round.catch(() => undefined);
    return round;
  }

  async #round(dryRun: boolean, waitMs: number): Promise<ReapReport> {
    const withTraces = performance.now() - this.#tracesAt >= TRACES_EVERY_MS;
    const look = () => this.#look(withTraces);
    const first = await look();
    if (dryRun) return this.#act(first, true);
    const isQuiet = !(await this.#hasWork(first));
    if (!isQuiet) await this.#giveJobsBack(first);
    const done = isQuiet ? { result: await this.#act(first, false) } : await this.#inTurn(look, waitMs);
    if (done === null) {
      const left = [
        { kind: 'round' as const, name: this.#options.host, why: 'another reaper of this host is at work' },
      ];
      return { dryRun, reaped: [], left, faults: [] };
    }
    if (withTraces) this.#tracesAt = performance.now();
    this.#tell(done.result);
    await this.#count(done.result);
    return done.result;
  }

  /**
   * In nobody's turn, for which the token of the lock takes its place: a reaper that died in its own would keep all who
   * wait for these jobs for as long as that lasts.
   */
  async #giveJobsBack({ entries }: View): Promise<void> {
    const context: ReapContext = { ...this.#options, hooksRun: this.#hooksRun, dryRun: false, notes: new ReapNotes() };
    const dead = await this.#sort(entries, new ReapNotes());
    await pLimit(JOBS_AT_ONCE).map(dead, async one => {
      if (await giveJobBack(context, one)) this.#given.add(one.record.cellId);
    });
  }

  async #inTurn(look: () => Promise<View>, waitMs: number): Promise<{ result: ReapReport } | null> {
    const deadline = performance.now() + waitMs;
    for (;;) {
      // Looked at anew: whoever had the turn before may have done it all.
      const done = await this.#options.registry.reapInTurn(async () => this.#act(await look(), false));
      if (done !== null || performance.now() >= deadline) return done;
      await sleep(TURN_POLL_MS);
    }
  }

  /** The registry last: what is erased from it meanwhile was removed before. */
  async #look(withTraces: boolean): Promise<View> {
    const { registry, ports, home, host, removals } = this.#options;
    const [traces, expired, { slots }] = await Promise.all([
      withTraces ? findTraces({ home, removals }) : NO_TRACES,
      ports.expired(),
      this.#options.slots.list(host),
    ]);
    return { traces, expired, slots, entries: await registry.list() };
  }

  async #hasWork({ entries, traces, expired, slots }: View): Promise<boolean> {
    const known = new Set(entries.map(({ cellId }) => cellId));
    const groups = traces.groups.map(folder => basename(folder));
    const pins = traces.pins.map(({ cellId }) => cellId);
    const names = [...traces.folders, ...groups, ...pins, ...expired.map(({ owner }) => owner)];
    if (traces.temporaries.length + traces.abandoned.length > 0 || names.some(name => !known.has(name))) return true;
    if ((await this.#deadSlots(withoutCell(slots, entries))).length > 0) return true;
    return (await this.#sort(entries, new ReapNotes())).length > 0;
  }

  async #act({ entries, traces, expired, slots }: View, dryRun: boolean): Promise<ReapReport> {
    const notes = new ReapNotes();
    const context: ReapContext = { ...this.#options, hooksRun: this.#hooksRun, dryRun, notes };
    const dead = await this.#sort(entries, notes);
    // First of all: who waits for these jobs need not wait for what their cells left.
    const given = await pLimit(JOBS_AT_ONCE).map(dead, async one => {
      const before = this.#given.delete(one.record.cellId);
      return (await giveJobBack(context, one)) || before;
    });
    await pLimit(CELLS_AT_ONCE).map([...dead.entries()], ([at, one]) => reapCell(context, one, given[at] === true));
    const known = new Set(entries.map(({ cellId }) => cellId));
    await reapOrphans(context, { traces, expired, known });
    await reapSlots(context, await this.#deadSlots(withoutCell(slots, entries)));
    return { dryRun, ...notes };
  }

  /** The dead ones; the others are noted with the reason why they are left alone. */
  async #sort(entries: readonly RegistryEntry[], notes: ReapNotes): Promise<DeadCell[]> {
    const { identity } = this.#options;
    const dead: DeadCell[] = [];
    const lives = this.#lives();
    for (const { cellId: name, record, fault, beatAt, onDisk } of entries) {
      if (record === null) {
        notes.faults.push({ kind: 'cell', name, step: 'registry entry', message: `is not understood: ${fault}` });
        continue;
      }
      const now = Date.now();
      const judgement = judge(record, {
        ...(await lives(record.worker)),
        beatAgeMs: beatAt === null ? null : now - beatAt,
        recordAgeMs: now - record.createdAt,
      });
      if (judgement.verdict !== 'dead') notes.left.push({ kind: 'cell', name, why: judgement.why });
      else dead.push({ record, judgement, server: trustedServer(record, identity, onDisk) });
    }
    return dead;
  }

  /** A slot says that it is alive every second, or runs out: silence need not be waited for. */
  async #deadSlots(slots: readonly SlotOwner[]): Promise<{ slot: SlotOwner; why: string }[]> {
    const dead: { slot: SlotOwner; why: string }[] = [];
    const lives = this.#lives();
    for (const slot of slots) {
      const facts = { ...(await lives(slot.worker)), beatAgeMs: 0, recordAgeMs: 0 };
      const { verdict, why } = judge({ ...slot, abandoned: false }, facts);
      if (verdict === 'dead') dead.push({ slot, why });
    }
    return dead;
  }

  /** Looks at each process once, however many cells name it. */
  #lives(): (worker: CellRecord['worker']) => Promise<Omit<LifeFacts, 'beatAgeMs' | 'recordAgeMs'>> {
    const { host, home, identity } = this.#options;
    const { bootId, pidNamespace } = identity;
    const holders = new Map<number, Promise<LifeFacts['holder']>>();
    return async ({ pid }) => {
      const holder = holders.get(pid) ?? holderOf(pid);
      holders.set(pid, holder);
      return { host, home, bootId, pidNamespace, holder: await holder };
    };
  }

  /** A fault that lasts is told once, not at every round. */
  #tell({ reaped, faults }: ReapReport): void {
    const { log } = this.#options;
    for (const one of reaped) log.info({ ...one, ...aboutCell(one) }, 'reaped');
    const said = new Set(faults.map(one => JSON.stringify(one)));
    for (const one of faults) {
      if (!this.#told.has(JSON.stringify(one))) log.warn({ ...one, ...aboutCell(one) }, 'not reaped');
    }
    this.#told = said;
  }

  async #count({ reaped }: ReapReport): Promise<void> {
    const { tally, log } = this.#options;
    try {
      await tally?.addReaped(reaped.map(({ kind }) => kind));
    } catch (error) {
      // It is gone all the same.
      log.warn({ problem: messageOf(error) }, 'what was reaped could not be counted');
    }
  }
}

/** What other lines of the log call them. */
function aboutCell(one: { kind: ReapKind; name: string; taskId?: string | null }): { task?: string; cell?: string } {
  if (one.kind !== 'cell') return {};
  const task = one.taskId ?? taskNamedBy(one.name);
  return { cell: one.name, ...(task === null ? {} : { task }) };
}

/** The largest pid of any system; a record may hold larger numbers, which signals do not take. */
const PID_MAX = 2 ** 31 - 1;

/** Who has this pid: of a process whose entry is closed to us, only that it is there. */
async function holderOf(pid: number): Promise<LifeFacts['holder']> {
  if (pid > PID_MAX) return null;
  return (await readProcess(pid)) ?? (pidIsTaken(pid) ? { startTime: '', zombie: false } : null);
}

/**
 * The server of a record, when it may be killed by pid and start time: they must have been counted as we count, and
 * only what stands on our own disk is to be trusted, since anybody who reaches Redis could name any process there.
 */
function trustedServer(record: CellRecord, identity: ProcessIdentity, onDisk: boolean): DeadCell['server'] {
  const { bootId, pidNamespace } = record.worker;
  return onDisk && bootId === identity.bootId && pidNamespace === identity.pidNamespace ? record.server : null;
}
