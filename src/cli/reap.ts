/** `cellpool reap`: remove what dead workers left on this host. */
import type { Command } from 'commander';
import type { Settings } from '../config.ts';
import { openQueue } from '../job/queue.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { ownIdentity } from '../os/identity.ts';
import { JobData } from '../redis/job-data.ts';
import { PortLeases } from '../redis/port-lease.ts';
import { CellRegistry } from '../redis/registry.ts';
import { failureHookOfDead } from '../worker/dead-hook.ts';
import type { ReapReport } from '../worker/reap-report.ts';
import { Reaper } from '../worker/reaper.ts';
import { type Connected, withRedis } from './connected.ts';
import { interruptible } from './interrupts.ts';
import { addFlags, type CommonFlags, SITE_FLAGS, settingsOf } from './options.ts';
import { say } from './outputs.ts';
import { counted, printable, table } from './words.ts';

const EXAMPLES = `
Examples:
  $ cellpool reap --dry-run      # what would be removed, and why
  $ cellpool reap
  $ cellpool reap --json | jq 'select(.result == "fault")'

Removes the processes, control groups, workspaces, git pins and ports of cells whose worker on this host is proven dead, and gives
their jobs back. Cells of living workers and of other hosts are left alone. Workers do the same by themselves.

Ends with 0 when nothing is left to remove, 1 when something could not be removed, 2 on bad usage, 3 without Redis.`;

interface ReapFlags extends CommonFlags {
  dryRun?: boolean;
  json?: boolean;
}

/** For a reaper of a worker on this host that is at work just now. */
const TURN_MS = 30_000;

export function addReapCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('reap').description('remove what dead workers left on this host');
  addFlags(command, SITE_FLAGS)
    .option('--dry-run', 'change nothing, say what would be removed')
    .option('--json', 'one JSON object a line on stdout for everything that was reaped, left alone or at fault')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: ReapFlags) => exit(await reap(flags)));
}

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
      queue,
      jobData: new JobData(redis, { prefix }),
      home,
      host,
      log,
      identity: await ownIdentity(),
      onFailure: failureHookOfDead(queue, { settings, log, redactor }),
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
