/** `cellpool reap`: remove what dead workers left on this host. */
import type { Settings } from '../config.ts';
import { openQueue } from '../job/queue.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { ownIdentity } from '../os/identity.ts';
import { JobData } from '../redis/job-data.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { CellRegistry } from '../redis/registry.ts';
import { Slots } from '../redis/slots.ts';
import { Tally } from '../redis/tally.ts';
import { failureHookOfDead } from '../worker/dead-hook.ts';
import type { ReapReport } from '../worker/reap-report.ts';
import { Reaper } from '../worker/reaper.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
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
    const report = await withRedis(settings, say, one => reapRound(settings, flags.dryRun === true, one), stop.asked);
    if (flags.json === true) tellJson(report);
    else tell(report);
    if (report.faults.length > 0 || report.left.some(({ kind }) => kind === 'round')) return 1;
    return stop.asked.aborted ? 130 : 0;
  });
}

/** One round of a reaper for this host. */
export async function reapRound(settings: Settings, dryRun: boolean, connected: Connected): Promise<ReapReport> {
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
