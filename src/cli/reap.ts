/** `cellpool reap`: remove what dead workers left on this host. */
import { basename } from 'node:path';
import type { Settings } from '../config.ts';
import { openQueue } from '../job/queue.ts';
import { createLogger, silentLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { ownIdentity } from '../os/identity.ts';
import { JobData } from '../redis/job-data.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { CellRegistry } from '../redis/registry.ts';
import { Slots } from '../redis/slots.ts';
import { Tally } from '../redis/tally.ts';
import { failureHookOfDead } from '../worker/dead-hook.ts';
import { cellOf, DISCARDED, nameOfLeft, OWNED } from '../worker/owned-folders.ts';
import type { ReapReport } from '../worker/reap-report.ts';
import { Reaper } from '../worker/reaper.ts';
import { Removals } from '../worker/removals.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible, whenAborted } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { counted, printable, table } from './words.ts';

export interface ReapFlags extends CommonFlags {
  dryRun?: boolean;
  json?: boolean;
}

/** For a reaper of a worker on this host that is at work just now. */
const TURN_MS = 30_000;

export async function reap(flags: ReapFlags): Promise<number> {
  const settings = settingsOf(flags);
  return interruptible(async stop => {
    // The report says it all.
    const removals = new Removals({
      ...{ home: settings.home, owner: await ownIdentity(), log: silentLogger },
      most: Number.POSITIVE_INFINITY,
    });
    const dryRun = flags.dryRun === true;
    const report = await withRedis(settings, say, one => reapRound(settings, dryRun, one, removals), stop.asked)
      .then(round => whenRemoved(round, removals, stop.asked))
      // When the round fails, too: what it has taken over is not to keep the process alive.
      .finally(() => removals.end(0));
    if (flags.json === true) tellJson(report);
    else tell(report);
    if (report.faults.length > 0 || report.left.some(({ kind }) => kind === 'round')) return 1;
    return stop.asked.aborted ? 130 : 0;
  });
}

/** What was taken over is removed now; who interrupts that leaves the rest to the next reaper. */
async function whenRemoved(report: ReapReport, removals: Removals, asked: AbortSignal): Promise<ReapReport> {
  await Promise.race([removals.settled(), new Promise<void>(resolve => whenAborted(asked, resolve))]);
  await removals.end(0);
  const failed = [...removals.faults].map(([cellId, message]) => ({
    ...{ kind: 'folder' as const, name: `${DISCARDED}/${nameOfLeft(cellId)}`, step: 'folder', message },
  }));
  const unfinished = [...removals.left].map(cellId => ({
    kind: 'folder' as const,
    name: `${DISCARDED}/${nameOfLeft(cellId)}`,
    why: 'interrupted before it was removed',
  }));
  const isThere = (cellId: string) => removals.faults.has(cellId) || removals.left.has(cellId);
  const isOwned = (name: string) => OWNED.some(kind => name.startsWith(`${kind}/`));
  const isLeft = (name: string) => isOwned(name) && isThere(cellOf(basename(name)) ?? '');
  const reaped = report.reaped.filter(({ name }) => !isLeft(name));
  return { ...report, reaped, left: [...report.left, ...unfinished], faults: [...report.faults, ...failed] };
}

/** One round of a reaper for this host. Folders of ended cells are left to others where there are no `removals`. */
export async function reapRound(
  settings: Settings,
  dryRun: boolean,
  connected: Connected,
  removals?: Removals,
): Promise<ReapReport> {
  const { prefix, host, home, ports: range, logLevel } = settings;
  const redis = await connected.connection('producer');
  const queue = openQueue(redis, prefix);
  // The report says it all.
  const redactor = new Redactor(secretsOfWorker(settings));
  const log = createLogger(logLevel ?? 'silent', redactor);
  try {
    const reaper = new Reaper({
      registry: new CellRegistry(redis, { prefix, host, home }),
      ports: new PortLeases(redis, { prefix, host, range }),
      slots: new Slots(redis, { prefix }),
      removals,
      queue,
      jobData: new JobData(redis, { prefix }),
      home,
      host,
      log,
      identity: await ownIdentity(),
      onFailure: failureHookOfDead(queue, { settings, log, redactor }),
      tally: new Tally(redis, { prefix }),
    });
    return await reaper.run({ dryRun, waitMs: TURN_MS });
  } finally {
    await queue.close();
  }
}

function tellJson({ dryRun, reaped, left, faults }: ReapReport): void {
  const lines = [
    ...reaped.map(one => ({ result: dryRun ? 'would-reap' : 'reaped', ...one })),
    ...left.map(one => ({ result: 'left', ...one })),
    ...faults.map(one => ({ result: 'fault', ...one })),
  ];
  for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
}

function tell({ dryRun, reaped, left, faults }: ReapReport): void {
  const rows = reaped.map(({ kind, name, removed, jobGivenBack, why }) => {
    const what = [...removed, ...(jobGivenBack ? ['job given back'] : [])].join(', ');
    return [kind, name, what, why];
  });
  const end = dryRun
    ? `${counted(reaped.length, 'leftover')} would be removed; nothing was changed.`
    : `${counted(reaped.length, 'leftover')} removed.`;
  const others = [
    ...left.map(({ kind, name, why }) => `left alone: ${kind} ${name}: ${why}`),
    ...faults.map(({ kind, name, step, message }) => `fault: ${kind} ${name}: ${step}: ${message}`),
  ];
  const head = ['KIND', 'NAME', dryRun ? 'WOULD REMOVE' : 'REMOVED', 'WHY'];
  const lines = [...(rows.length === 0 ? [] : [table(head, rows), '']), ...others.map(printable), end];
  process.stdout.write(`${lines.join('\n')}\n`);
}
