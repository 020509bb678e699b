/**
 * Calls git with an environment built from a list. `GIT_DIR` or `GIT_CONFIG_PARAMETERS` of the worker's own shell
 * would silently redirect every command, so nothing is inherited. Exit codes decide, never what git prints.
 */
import { CellpoolError, type ErrorCode } from '../errors.ts';
import type { Argv } from '../os/leash.ts';
import { type RunResult, run } from '../os/run.ts';

export interface GitCall {
  /** Without it git looks for a repository from `cwd` upward. */
  gitDir?: string;
  /** Also the folder git runs in, unless `cwd` says otherwise. */
  workTree?: string;
  /** Index file in place of the repository's own. */
  index?: string;
  cwd?: string;
  input?: string;
  /** Paths that go in or come out need not be text: each byte is one character (see `pathText`). */
  bytes?: boolean;
  /** Added to the listed environment. */
  env?: Record<string, string>;
  /** Added to the settings that hold for every call: `['fetch.fsckObjects=true']`. */
  config?: readonly string[];
  /** Milliseconds. */
  timeoutMs?: number;
  /** Ends git when it is aborted. */
  signal?: AbortSignal | undefined;
  /** Starts git inside something. */
  wrap?: (argv: Argv) => Argv;
}

/** Long enough for the first copy of a large history. */
const GIT_TIMEOUT_MS = 10 * 60_000;

/**
 * Hold for every call, whatever the repository's own config says (an agent may have written that): no program of the
 * repository's is started, and no housekeeping begins behind our back.
 */
export const SETTINGS: readonly string[] = [
  'core.hooksPath=/dev/null',
  // Hooks in the config (git 2.54), by the moments our calls come to.
  ...['reference-transaction', 'post-checkout', 'post-index-change'].map(event => `hook.${event}.enabled=false`),
  'core.fsmonitor=false',
  'core.alternateRefsCommand=true',
  'log.showSignature=false',
  // By `url.<base>.insteadOf` a path can become the address of a helper, and a helper can be an alias.
  'alias.remote-file=version',
  'core.untrackedCache=false',
  'gc.auto=0',
  'maintenance.auto=false',
  'commit.gpgSign=false',
  'submodule.recurse=false',
  'protocol.version=2',
  'safe.bareRepository=all',
];

const COMMON = {
  LC_ALL: 'C',
  GIT_TERMINAL_PROMPT: '0',
  // A replace ref would show us other objects than the ones we name.
  GIT_NO_REPLACE_OBJECTS: '1',
  // Reading must not rewrite the index of somebody's working copy.
  GIT_OPTIONAL_LOCKS: '0',
  // From folder to folder only, whatever the config allows or forbids; and nothing is fetched because it is missing,
  // for the config says by which program.
  GIT_ALLOW_PROTOCOL: 'file',
  GIT_NO_LAZY_FETCH: '1',
};

/** Only settings of the repository itself count: nothing of the user's, nothing of the machine's. */
function ownEnvironment(): Record<string, string> {
  return {
    ...COMMON,
    ...pick('PATH'),
    HOME: '/nonexistent',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_ATTR_NOSYSTEM: '1',
  };
}

/** The user's own settings count too: `safe.directory`, and the filters that tell an edited file from a clean one. */
function userEnvironment(): Record<string, string> {
  return { ...COMMON, ...pick('PATH', 'HOME', 'XDG_CONFIG_HOME') };
}

function pick(...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap(name => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

/**
 * Git on repositories the pool made, and on refs and objects of a source that `openSource` has accepted.
 * A non-zero exit code is not an error here.
 * @throws {CellpoolError} GIT_MISSING when there is no git; GIT_FAILED when it was killed or ran out of time.
 */
export function ownGit(args: readonly string[], call: GitCall): Promise<RunResult> {
  return start(ownEnvironment(), args, call);
}

/** Git as the user would run it, for what depends on the user's settings. Throws as `ownGit` does. */
export function userGit(args: readonly string[], call: GitCall): Promise<RunResult> {
  return start(userEnvironment(), args, call);
}

/**
 * Git as the user would run it, for what needs his credentials: his settings and helpers are asked, ssh has its agent
 * and a proxy its variables. Only `protocols` may be spoken, whatever an address is rewritten to. Throws as `ownGit`.
 */
export function remoteGit(args: readonly string[], call: GitCall & { protocols: string }): Promise<RunResult> {
  const env = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || !reachesRemotes(name, value) ? [] : [[name, value] as const],
  );
  return start({ ...Object.fromEntries(env), ...COMMON, GIT_ALLOW_PROTOCOL: call.protocols }, args, call);
}

/** By these git is told how to reach a remote. Others of git's own redirect it, or have it print what is secret. */
const TO_REMOTES =
  /^GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|(PROXY_)?SSL_\w+|HTTP_\w+|CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|(KEY|VALUE)_\d+))$/;

/** A window in which to ask for a password would open where nobody sits. */
const ASKS = new Set(['SSH_ASKPASS', 'DISPLAY', 'WAYLAND_DISPLAY']);

/** A helper may be any program of the user's, so it finds the variables that he gave us. */
function reachesRemotes(name: string, value: string): boolean {
  // To git an empty one is set.
  return name.startsWith('GIT_') ? value !== '' && TO_REMOTES.test(name) : !ASKS.has(name);
}

/** What `ownGit` printed. @throws {CellpoolError} of `code` on any exit code but 0. */
export async function ownGitOk(
  args: readonly string[],
  call: GitCall,
  code: ErrorCode = 'GIT_FAILED',
): Promise<string> {
  return accept(await ownGit(args, call), args, code);
}

/** What git printed. @throws {CellpoolError} of `code` on any exit code but 0. */
export function accept(result: RunResult, args: readonly string[], code: ErrorCode = 'GIT_FAILED'): string {
  if (result.exitCode === 0) return result.stdout;
  throw refused(result, args, code);
}

export function refused(result: RunResult, args: readonly string[], code: ErrorCode): CellpoolError {
  const said = result.stderr.trim().slice(-2_000) || result.problem || `exit code ${result.exitCode}`;
  return new CellpoolError(code, `git ${args[0]}: ${said}`, {
    facts: { program: 'git', args, exitCode: result.exitCode },
  });
}

async function start(env: Record<string, string>, args: readonly string[], call: GitCall): Promise<RunResult> {
  const settings = [...SETTINGS, ...(call.config ?? [])].flatMap(setting => ['-c', setting]);
  const where = [
    ...(call.gitDir === undefined ? [] : [`--git-dir=${call.gitDir}`]),
    ...(call.workTree === undefined ? [] : [`--work-tree=${call.workTree}`]),
  ];
  const index = call.index === undefined ? {} : { GIT_INDEX_FILE: call.index };
  const argv: Argv = ['git', ...settings, ...where, ...args];
  const result = await run(call.wrap?.(argv) ?? argv, {
    cwd: call.cwd ?? call.workTree ?? '/',
    env: { ...env, ...index, ...call.env },
    timeoutMs: call.timeoutMs ?? GIT_TIMEOUT_MS,
    ...(call.input === undefined ? {} : { input: call.input }),
    bytes: call.bytes,
    signal: call.signal,
  });
  if (result.exitCode !== null) return result;
  await demandGit(env);
  throw refused(result, args, 'GIT_FAILED');
}

/** A folder that is gone and a program that is gone look the same to who starts it; so ask git from a safe place. */
async function demandGit(env: Record<string, string>): Promise<void> {
  const answer = await run(['git', '--version'], { cwd: '/', env, timeoutMs: 10_000 });
  if (answer.exitCode === 0) return;
  throw new CellpoolError('GIT_MISSING', 'git cannot be started', {
    hint: 'Install git 2.34 or newer and see that it is on PATH.',
    facts: { problem: answer.problem },
  });
}
