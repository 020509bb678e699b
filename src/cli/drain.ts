/** `cellpool drain`: let workers end what they have begun, and then themselves. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Control } from '../redis/control.ts';
import { type WorkerEntry, WorkerList } from '../redis/worker-list.ts';
import { withRedis } from './connected.ts';
import { allOf, refuse, secondsOf } from './faults.ts';
import { interruptible } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { counted, printable } from './words.ts';

export interface DrainFlags extends CommonFlags {
  host?: string;
  json?: boolean;
  timeout?: string;
  wait: boolean;
}

/** How often it is looked who is still there. */
const LOOK_MS = 200;

export async function drain(flags: DrainFlags): Promise<number> {
  const [settings, timeoutMs] = allOf(
    () => settingsOf(flags),
    () => (flags.timeout === undefined ? null : secondsOf('--timeout', flags.timeout)),
    () => refuse(hostFaults(flags.host)),
  );
  return interruptible(stop =>
    withRedis(
      settings,
      say,
      async connected => {
        const redis = await connected.connection('producer');
        const { prefix } = settings;
        const workers = new WorkerList(redis, { prefix });
        const host = flags.host ?? null;
        const asked = new Set(await workers.askToDrain(host));
        await new Control(redis, { prefix }).publish({ kind: 'drain', host });
        if (asked.size === 0) {
          say(`Nothing to drain: no worker is there${host === null ? '' : ` on ${printable(host)}`}.`);
          return 0;
        }
        if (!flags.wait) {
          for (const id of asked) tell({ worker: id, state: 'asked' }, flags.json === true);
          return 0;
        }
        const left = await untilGone(workers, asked, { timeoutMs, signal: stop.asked }, id =>
          tell({ worker: id, state: 'drained' }, flags.json === true),
        );
        if (stop.asked.aborted) return 130;
        for (const id of left) tell({ worker: id, state: 'asked' }, flags.json === true);
        return left.size === 0 ? 0 : 1;
      },
      stop.asked,
    ),
  );
}

function hostFaults(host: string | undefined) {
  return host === undefined || /^[A-Za-z0-9._-]{1,255}$/.test(host)
    ? []
    : [{ where: '--host', what: 'is made of letters, digits, ".", "_" and "-", 255 at most' }];
}

/** Waits until the list holds none of these workers, or no longer than it may; returns those that are still there. */
async function untilGone(
  workers: WorkerList,
  asked: ReadonlySet<string>,
  { timeoutMs, signal }: { timeoutMs: number | null; signal: AbortSignal },
  onGone: (id: string) => void,
): Promise<Set<string>> {
  const left = new Set(asked);
  const deadline = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
  let said = '';
  for (;;) {
    const there = (await workers.list()).filter(({ id }) => left.has(id));
    for (const id of left) {
      if (there.some(worker => worker.id === id)) continue;
      left.delete(id);
      onGone(id);
    }
    if (left.size === 0 || signal.aborted || performance.now() >= deadline) return left;
    const progress = progressOf(there);
    if (progress !== said) say(progress);
    said = progress;
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

function progressOf(workers: readonly WorkerEntry[]): string {
  const attempts = workers.reduce((sum, { running }) => sum + running.length, 0);
  return `Waiting for ${counted(workers.length, 'worker')}, ${counted(attempts, 'attempt')}.`;
}

function tell(one: { worker: string; state: 'drained' | 'asked' }, json: boolean): void {
  const words = one.state === 'drained' ? 'is gone.' : 'has been told.';
  process.stdout.write(`${json ? JSON.stringify(one) : `${printable(one.worker)} ${words}`}\n`);
}
