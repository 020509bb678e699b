/** `cellpool land`: bring finished branches onto their targets, those that wait and those that are named. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Settings } from '../config.ts';
import { InvalidInput } from '../errors.ts';
import type { Fate } from '../job/fate.ts';
import { type LandingJob, landingIdOf, openLandingQueue } from '../job/landing.ts';
import { readLandings, type StoredLanding } from '../job/stored-landing.ts';
import { createLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfWorker } from '../observe/secrets.ts';
import { whileWanted } from '../os/within.ts';
import { type LandingAsked, landTasks } from '../producer/land-tasks.ts';
import { idFaults } from '../producer/task-ids.ts';
import { type LanderProcess, type LanderProcessOptions, startLander } from '../worker/lander-process.ts';
import type { TargetGroup } from '../worker/landing-groups.ts';
import { type Connected, withRedis } from './connected.ts';
import { allOf, refuse } from './faults.ts';
import { interruptible, type StopRequests, whenAborted } from './interrupts.ts';
import type { CommonFlags } from './options.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { isolationInWords, printable } from './words.ts';

export interface LandFlags extends CommonFlags {
  watch?: boolean;
  json?: boolean;
}

/** Where others land on a target, it is looked again so soon. */
const LOOK_MS = 1_000;
/** Once it is insisted, the end of what is under way is waited for no longer than this. */
const INSISTED_MS = 2_000;

/** Why it ends although something may wait. */
const LEFT = {
  held: 'Some wait still: see cellpool landing.',
  paused: 'The pool is paused, so nothing lands: cellpool resume.',
};

export async function land(ids: readonly string[], flags: LandFlags): Promise<number> {
  const [settings] = allOf(
    () => settingsOf(flags),
    () => refuse(idFaults(ids)),
  );
  if (flags.landOn !== undefined && ids.length === 0) {
    throw new InvalidInput([{ where: '--land-on', what: 'goes with ids of tasks: what waits already has its target' }]);
  }
  return interruptible(stop =>
    withRedis(settings, say, connected => landWith({ ids, flags, settings, connected, stop }), stop.asked),
  );
}

interface LandCall {
  ids: readonly string[];
  flags: LandFlags;
  settings: Settings;
  connected: Connected;
  stop: StopRequests;
}

async function landWith(call: LandCall): Promise<number> {
  const { ids, flags, settings, connected, stop } = call;
  const json = flags.json === true;
  // A Redis that is connected may say nothing: whoever wants to stop does not wait for it.
  const asked = ids.length === 0 ? [] : await whileWanted(stop.asked, ask(call));
  const redactor = new Redactor(secretsOfWorker(settings));
  let unlanded = asked.filter(({ how }) => how === 'refused').length;
  const told = new Set<string>();
  const lander = await startWhileWanted(stop, {
    settings,
    redis: await connected.connection('worker'),
    log: createLogger(settings.logLevel ?? 'warn', redactor),
    redactor,
    eager: flags.watch !== true,
    onFate(landing, fate) {
      if (fate.kind !== 'landed') unlanded += 1;
      told.add(landingIdOf(landing));
      tellFate(landing, fate, json);
    },
    onHeld: (group, reason) => say(printable(heldInWords(group, reason))),
  });
  say(isolationInWords(lander.isolation));
  try {
    if (flags.watch === true) return await keepLanding(lander, stop);
    const left = await landAll(lander, stop);
    if (stop.asked.aborted) return 130;
    if (left !== null) say(LEFT[left]);
    // Another lander may have been faster with those that were named.
    for (const { data } of await landingsOf(call, asked)) {
      if (data?.fate === undefined || told.has(landingIdOf(data))) continue;
      if (data.fate.kind !== 'landed') unlanded += 1;
      tellFate(data, data.fate, json);
    }
    return unlanded > 0 || left !== null ? 1 : 0;
  } finally {
    await endInTime(lander, stop);
  }
}

async function startWhileWanted({ asked }: StopRequests, options: LanderProcessOptions): Promise<LanderProcess> {
  const starting = startLander(options);
  try {
    return await whileWanted(asked, starting);
  } catch (error) {
    // It may come up all the same.
    void starting.then(late => late.end()).catch(() => undefined);
    throw error;
  }
}

async function endInTime(lander: LanderProcess, { insisted }: StopRequests): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>(resolve => {
    whenAborted(insisted, () => {
      timer = setTimeout(resolve, INSISTED_MS);
    });
  });
  await Promise.race([lander.end(), late]);
  clearTimeout(timer);
}

async function ask({ ids, flags, settings, connected }: LandCall): Promise<LandingAsked[]> {
  const { prefix, retention } = settings;
  const context = { redis: await connected.connection('producer'), prefix, retention };
  const asked = await landTasks(context, ids, {
    ...(settings.land === 'none' ? {} : { land: settings.land }),
    ...(flags.landOn === undefined ? {} : { landOn: flags.landOn }),
  });
  for (const one of asked) {
    const line = flags.json === true ? JSON.stringify({ event: 'asked', ...one }) : askedInWords(one);
    process.stdout.write(`${printable(line)}\n`);
  }
  return asked;
}

/** Those that were put on the queue, or stood there. */
async function landingsOf({ settings, connected }: LandCall, asked: readonly LandingAsked[]): Promise<StoredLanding[]> {
  const ids = asked.flatMap(({ how, landingId }) => (how === 'landed' || landingId === null ? [] : [landingId]));
  if (ids.length === 0) return [];
  const redis = await connected.connection('producer');
  const queue = openLandingQueue(redis, settings.prefix);
  try {
    return (await readLandings(redis, queue, ids)).filter(one => one !== null);
  } finally {
    await queue.close();
  }
}

async function keepLanding({ lander, drainAsked }: LanderProcess, stop: StopRequests): Promise<number> {
  say('Landing what comes. Ctrl-C to stop.');
  lander.begin();
  await new Promise<void>(resolve => {
    whenAborted(stop.asked, resolve);
    whenAborted(drainAsked, resolve);
  });
  // The round at work comes to its end; a second signal cuts it short.
  const cut = new Promise<void>(resolve => whenAborted(stop.insisted, () => void lander.stop().then(resolve)));
  await Promise.race([lander.drain(), cut]);
  return 0;
}

/** @returns why something may wait still; null: nothing does, or a person has stopped it */
async function landAll({ lander }: LanderProcess, stop: StopRequests): Promise<keyof typeof LEFT | null> {
  const asked = new Promise<boolean>(resolve => whenAborted(stop.asked, () => resolve(false)));
  for (;;) {
    const isLeft = await Promise.race([lander.look(), asked]);
    if (stop.asked.aborted) return null;
    if (lander.isPaused) return 'paused';
    if (!isLeft) return null;
    if (lander.onlyHeld) return 'held';
    await sleep(LOOK_MS, undefined, { signal: stop.asked }).catch(() => undefined);
  }
}

function tellFate({ taskId, target, branch, commit: of }: LandingJob, fate: Fate, json: boolean): void {
  const { kind, why = null, commit, message, batch, flaky } = fate;
  const facts = { event: 'fate', taskId, target, branch, of, fate: kind, why, commit, batch, flaky, message };
  process.stdout.write(`${json ? JSON.stringify(facts) : printable(fateInWords(taskId, target, fate))}\n`);
}

function fateInWords(taskId: string, target: string, { kind, why, commit, message, flaky }: Fate): string {
  const first = message.split('\n')[0] ?? '';
  if (kind === 'landed') {
    return `${taskId} landed on ${target} as ${commit?.slice(0, 12)}${flaky ? ', after tests that failed once' : ''}`;
  }
  return `${taskId} ${kind === 'returned' ? 'goes back to the pool' : 'is refused'}: ${why}: ${first}`;
}

function heldInWords({ target, repository }: TargetGroup, reason: string | null): string {
  const where = `${target} of ${repository}`;
  return reason === null ? `${where}: something may land again.` : `${where}: nothing lands for now: ${reason}`;
}

function askedInWords({ taskId, how, reason }: LandingAsked): string {
  switch (how) {
    case 'queued':
      return `${taskId} waits to land`;
    case 'waiting':
      return `${taskId} waits already`;
    case 'landed':
      return `${taskId} has landed before`;
    case 'refused':
      return `${taskId} cannot land: ${reason}`;
  }
}
