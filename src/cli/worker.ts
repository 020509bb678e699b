/** `cellpool worker`: work off the queue until told to stop, in a child process that is started anew when it dies. */
import type { Settings } from '../config.ts';
import { isSupervised, onInterrupt } from '../os/shutdown.ts';
import { Supervisor } from '../worker/supervisor.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { counted, printable } from './words.ts';

export interface WorkerFlags extends CommonFlags {
  json?: boolean;
  /** False for `--no-supervisor`. */
  supervisor?: boolean;
}

export async function worker(flags: WorkerFlags): Promise<number> {
  const settings = settingsOf(flags);
  if (flags.supervisor !== false && !isSupervised()) return supervise(settings);
  // What the work needs is loaded by the process that does it; the one that watches over it stays small.
  const { workUntilStopped } = await import('./work.ts');
  return workUntilStopped(settings, flags.json === true);
}

/** Runs this very command in a child. */
async function supervise(settings: Settings): Promise<number> {
  const supervisor = new Supervisor({
    argv: [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    env: process.env,
    say,
    recover: () => recover(settings),
  });
  const pass = (signal: NodeJS.Signals) => supervisor.stop(signal);
  const interrupts = onInterrupt(pass, pass);
  try {
    return await supervisor.run();
  } finally {
    interrupts.dispose();
  }
}

/** Gives back the jobs of the worker that has just died, and removes what it left. */
async function recover(settings: Settings): Promise<void> {
  const [{ withRedis }, { reapRound }] = await Promise.all([import('./connected.ts'), import('./reap.ts')]);
  const { reaped, faults } = await withRedis(settings, say, connected => reapRound(settings, false, connected));
  const back = reaped.filter(({ jobGivenBack }) => jobGivenBack).length;
  if (back > 0) say(`${counted(back, 'job')} given back.`);
  for (const { kind, name, step, message } of faults) say(printable(`${kind} ${name}: ${step}: ${message}`));
}
