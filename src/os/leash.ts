/**
 * No child outlives us, not even when we die by SIGKILL. How far that reaches depends on the machine:
 *
 * | level               | what dies with us                                                                 |
 * |---------------------|-----------------------------------------------------------------------------------|
 * | pid-namespace       | the process and all its descendants, whatever session, parent or environment they |
 * |                     | gave themselves; what it leaves behind when it ends can be ended as well          |
 * | parent-death-signal | the process itself                                                                |
 * | none                | nothing: what is left is for the reaper                                           |
 *
 * A process in a namespace of its own looks like this from outside:
 *
 *     leader (unshare): waits for the program and ends as it ended, by exit code or signal; SIGTERM does not end it
 *       |- the program: second of the namespace, so that signals end it as they end any program
 *       `- init (cat): first of the namespace, takes in orphans; in a session of its own. It reads from a line that
 *          only we hold (`tether.ts`): at its end it ends, and the kernel kills all others in the namespace
 *
 * Were the program itself the first, no signal that it does not handle would reach it; were it a child of the first,
 * a signal that ended it could not be told from an exit code.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { findProgram } from './program.ts';
import { Tether } from './tether.ts';

export type LeashLevel = 'pid-namespace' | 'parent-death-signal' | 'none';

export type Argv = readonly [string, ...string[]];

export interface Leashed {
  argv: Argv;
  /** Whether the process expects the other end of a `Tether` as its file handle 3. */
  tethered: boolean;
}

export interface LeashOptions {
  /** The whole environment of the program. */
  env: Record<string, string>;
  /**
   * Whether the program can bear a user namespace, where the files of others belong to nobody and sudo does not work.
   * If not, there is no pid namespace without root either.
   */
  userNamespace: boolean;
}

export interface Leash {
  level: LeashLevel;
  needsUserNamespace: boolean;
  /** `argv` on this leash; `env` is its whole environment. */
  wrap(argv: Argv, env: Record<string, string>): Leashed;
}

interface Tools {
  setpriv: string;
  unshare: string;
  setsid: string;
  env: string;
  cat: string;
}

const NO_LEASH: Leash = { level: 'none', needsUserNamespace: false, wrap: argv => ({ argv, tethered: false }) };
/** For each probe; a machine under load may take seconds to start a few programs. */
const PROBE_MS = 10_000;
/** Shells pass on nothing but names; and these they set themselves. */
const SHELL_NAME = /^[A-Za-z_]\w*$/;
const SHELL_SETS = ['PWD', 'OLDPWD', 'SHLVL', '_'];

/** `sh -c LIGHT sh <our pid> ...`: we may have died before the signal of our death was ordered. */
const LIGHT = '[ "$PPID" = "$1" ] || exit 137; shift; exec "$@"';
/** `sh -c INIT sh <env> <cat>`: says its pid as we see it, for /proc is still the outer one, and waits for our end. */
const INIT = [
  'while read -r key value; do [ "$key" = Pid: ] && break; done </proc/self/status',
  'echo "$value" >&3',
  // Orphans that end are then taken away by the kernel. Not by `trap`: some shells keep this signal to themselves.
  'exec "$1" --ignore-signal=CHLD "$2" <&3 3<&-',
].join('; ');
/** `sh -c LEADER sh <INIT> <env> <setsid> <cat> ...`: neither our pipes nor our environment stay with the first. */
const LEADER = [
  '(cd / && exec "$2" -i "$3" /bin/sh -c "$1" sh "$2" "$4") </dev/null >/dev/null 2>&1 &',
  // Some versions of unshare cannot end by SIGKILL as the program did: what it complains of goes to us.
  'shift 4; exec "$@" 4>&2 2>&3',
].join('\n');
/** `sh -c PROGRAM sh ...`: the program has its own outputs, and nothing of the line. */
const PROGRAM = 'exec "$@" 2>&4 3<&- 4>&-';

let lightest: Promise<Leash> | null = null;
let chosen: Promise<{ full: Leash; withoutUserNamespace: Leash }> | null = null;

/** What this machine offers; found out once in a process, by trying. */
export async function leashLevel(): Promise<LeashLevel> {
  return (await choose()).full.level;
}

/** `argv` with what ties the process to us. To be started by this very process, which its parent must be. */
export async function leashed(argv: Argv, { env, userNamespace }: LeashOptions): Promise<Leashed> {
  const { full, withoutUserNamespace } = await choose();
  return (userNamespace ? full : withoutUserNamespace).wrap(argv, env);
}

/**
 * `argv` such that the program dies when we do, as far as the machine can have that; what it starts may outlive it. For
 * programs that are run to their end and start nothing that lasts.
 */
export async function tiedToUs(argv: Argv, env: Record<string, string>): Promise<Argv> {
  lightest ??= findTools().then(async tools => {
    const light = tools === null ? undefined : leashesOf(tools).find(({ level }) => level === 'parent-death-signal');
    return light !== undefined && (await works(light)) ? light : NO_LEASH;
  });
  return (await lightest).wrap(argv, env).argv;
}

/** Every leash that this machine offers, strongest first; the last one is none. */
export async function offeredLeashes(): Promise<Leash[]> {
  const offered: Leash[] = [];
  const tools = process.platform === 'linux' ? await findTools() : null;
  for (const leash of tools === null ? [] : leashesOf(tools)) if (await works(leash)) offered.push(leash);
  return [...offered, NO_LEASH];
}

function choose() {
  chosen ??= offeredLeashes().then(offered => {
    const best = (fits: (leash: Leash) => boolean) => offered.find(fits) ?? NO_LEASH;
    return { full: best(() => true), withoutUserNamespace: best(leash => !leash.needsUserNamespace) };
  });
  return chosen;
}

/** Null when one is missing. Never along the PATH of a cell, where an agent may have put programs of these names. */
async function findTools(): Promise<Tools | null> {
  const path = `${process.env.PATH ?? ''}:/usr/bin:/bin`;
  const find = (name: string) => findProgram(name, path).catch(() => '');
  const [setpriv, unshare, setsid] = await Promise.all([find('setpriv'), find('unshare'), find('setsid')]);
  const [env, cat] = await Promise.all([find('env'), find('cat')]);
  return [setpriv, unshare, setsid, env, cat].includes('') ? null : { setpriv, unshare, setsid, env, cat };
}

function leashesOf(tools: Tools): Leash[] {
  const light: Leash['wrap'] = (argv, env) => {
    const signal = ['--pdeathsig', 'KILL', '--'];
    // What a shell would lose is passed around it; then only the check is missing.
    if (!survivesShell(env)) return { argv: [tools.setpriv, ...signal, ...argv], tethered: false };
    const checked = ['/bin/sh', '-c', LIGHT, 'sh', String(process.pid), ...restored(tools, env, argv)];
    return { argv: [tools.setpriv, ...signal, ...checked], tethered: false };
  };
  const inNamespace =
    (enter: string[], drop: string[]): Leash['wrap'] =>
    (argv, env) => {
      if (!survivesShell(env)) return light(argv, env);
      const leader = ['/bin/sh', '-c', LEADER, 'sh', INIT, tools.env, tools.setsid, tools.cat];
      const waiter = [tools.unshare, '--fork', '--kill-child', '--mount-proc', '--'];
      const program = ['/bin/sh', '-c', PROGRAM, 'sh', ...restored(tools, env, [...drop, ...argv])];
      const all = [...enter, '--', ...leader, ...waiter, ...program];
      return { argv: [tools.unshare, ...all], tethered: true };
    };
  // What may mount in its namespace, the program may not keep: it would pass over permissions of its own files.
  const drop = [tools.setpriv, '--ambient-caps=-all', '--inh-caps=-all', '--'];
  const asUser = inNamespace(['--user', '--map-current-user', '--keep-caps', '--pid'], drop);
  return [
    process.getuid?.() === 0
      ? { level: 'pid-namespace', needsUserNamespace: false, wrap: inNamespace(['--pid'], []) }
      : { level: 'pid-namespace', needsUserNamespace: true, wrap: asUser },
    { level: 'parent-death-signal', needsUserNamespace: false, wrap: light },
  ];
}

/**
 * `argv` in the environment as it was before a shell read it. The values that stand in the result are no secrets.
 */
function restored(tools: Tools, env: Record<string, string>, argv: readonly string[]): string[] {
  const unset = SHELL_SETS.filter(name => env[name] === undefined).flatMap(name => ['-u', name]);
  const set = SHELL_SETS.filter(name => env[name] !== undefined).map(name => `${name}=${env[name]}`);
  // A program with `=` in its path would be read as one more variable.
  const program = argv[0]?.includes('=') ? [tools.setpriv, '--pdeathsig', 'keep', '--', ...argv] : argv;
  return [tools.env, ...unset, ...set, ...program];
}

function survivesShell(env: Record<string, string>): boolean {
  return Object.keys(env).every(name => SHELL_NAME.test(name));
}

/** A leader that does not outlive the SIGTERM of its group would report its own end instead of the program's. */
const PROBE = 'trap "exit 7" TERM; [ -r /proc/$$/status ] && kill -TERM 0; exit 8';

async function works(leash: Leash): Promise<boolean> {
  const { argv, tethered } = leash.wrap(['/bin/sh', '-c', PROBE], {});
  const [file, ...args] = argv;
  const child = spawn(file, args, {
    cwd: '/',
    env: {},
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', tethered ? 'pipe' : 'ignore'],
    timeout: PROBE_MS,
    killSignal: 'SIGKILL',
  });
  const tether = tethered ? new Tether(child.stdio[3] as Duplex) : null;
  try {
    const [exitCode] = await once(child, 'exit');
    await tether?.release();
    return exitCode === 7;
  } catch {
    // It cannot even be started, or not be ended: this machine does not offer it.
    return false;
  }
}
