/** Calls to a repository on another machine, and what is said when one fails. */
import { CellpoolError, type ErrorCode } from '../errors.ts';
import type { RunResult } from '../os/run.ts';
import { type GitCall, remoteGit, SETTINGS } from './git.ts';
import { saidOf, troubleOf, withoutCredentials } from './remote-trouble.ts';

/** A question that costs the server nothing. */
export const ASK_MS = 60_000;

const IS_FILE = /^file:/;

/** A connection over which nothing comes is given up long before the call's own limit. */
const PATIENCE = ['http.lowSpeedLimit=1', 'http.lowSpeedTime=60'];
const SSH = 'ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 -o ServerAliveCountMax=4';

/**
 * Git with the credentials of the user who runs us; it asks nobody anything. The address is not added to `args`.
 * A non-zero exit code is not an error here.
 * @throws {CellpoolError} REMOTE_UNREACHABLE after the time limit; GIT_MISSING. The signal's reason when aborted.
 */
export async function askRemote(
  args: readonly string[],
  { url, ...call }: GitCall & { url: string },
): Promise<RunResult> {
  const { signal, timeoutMs = ASK_MS } = call;
  try {
    return await remoteGit(args, {
      ...call,
      timeoutMs,
      // What a user's `insteadOf` makes of an address stays among these, and so does what a server redirects to.
      protocols: url.startsWith('http:') ? 'http:https:ssh:file' : 'https:ssh:file',
      config: [...PATIENCE, ...(call.config ?? [])],
      env: { ...(await sshCommand()), ...call.env },
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof CellpoolError) || error.code !== 'GIT_FAILED') throw error;
    // No `cause`: it repeats what git was called with.
    throw new CellpoolError('REMOTE_UNREACHABLE', `${url} did not answer within ${timeoutMs / 1_000} s`, {
      hint: 'See that this machine reaches it: git ls-remote with that address.',
      facts: { url },
    });
  }
}

/** How ssh is started where the user has not said it: nobody is there to answer what it may ask. */
async function sshCommand(): Promise<Record<string, string>> {
  if ((process.env.GIT_SSH_COMMAND ?? process.env.GIT_SSH ?? '') !== '') return {};
  const { exitCode } = await remoteGit(['config', '--get', 'core.sshCommand'], { cwd: '/', protocols: 'none' });
  return exitCode === 0 ? {} : { GIT_SSH_COMMAND: SSH };
}

/**
 * Nothing is checked out there by a push: its filters are programs too. And hooks in the config (git 2.54), by the
 * moments a push comes to.
 */
const RECEIVING = [
  'receive.autogc=false',
  'receive.denyCurrentBranch=refuse',
  ...['pre-receive', 'update', 'post-receive', 'post-update', 'push-to-checkout', 'proc-receive'].map(
    event => `hook.${event}.enabled=false`,
  ),
];

/**
 * The other side of a remote that is a folder, as far as we are the one who starts it: none of its programs runs.
 * Servers elsewhere do as they like.
 */
export function otherSide(url: string, option: string, program: 'upload-pack' | 'receive-pack'): string[] {
  if (!IS_FILE.test(url)) return [];
  const settings = [...SETTINGS, ...RECEIVING].flatMap(setting => ['-c', `'${setting}'`]);
  return [`--${option}=git ${settings.join(' ')} ${program}`];
}

const CODES = { refused: 'REMOTE_REFUSED', unknown: 'NO_SUCH_REMOTE', unreachable: 'REMOTE_UNREACHABLE' } as const;

const HINTS: Partial<Record<ErrorCode, string>> = {
  REMOTE_REFUSED: "Give git of this user the credentials: a credential helper, ssh's agent (docs/repositories.md).",
  NO_SUCH_REMOTE: 'Look at the address; to a user without access some servers say that there is nothing.',
  NOT_A_REPOSITORY: 'See that this machine has that folder, and that it is a git repository.',
  REMOTE_UNREACHABLE: 'See that this machine reaches it: git ls-remote with that address.',
};

/** What is told of a call that failed. A folder that is not there is this machine's lack, not a wrong address. */
export function remoteFault(url: string, { stderr, exitCode }: RunResult): CellpoolError {
  const trouble = troubleOf(stderr);
  const code = trouble === 'unknown' && IS_FILE.test(url) ? 'NOT_A_REPOSITORY' : CODES[trouble];
  const said = saidOf(stderr) || `git ended with exit code ${exitCode}`;
  const hint = HINTS[code];
  return new CellpoolError(code, `${withoutCredentials(url)}: ${said}`, {
    ...(hint === undefined ? {} : { hint }),
    facts: { url: withoutCredentials(url) },
  });
}

/**
 * The branches of a remote with the commits they point to; `patterns` limits them to whole names.
 * @throws {CellpoolError} REMOTE_UNREACHABLE, REMOTE_REFUSED, NO_SUCH_REMOTE, NOT_A_REPOSITORY, GIT_MISSING
 */
export async function remoteBranches(
  url: string,
  { only, ...call }: { only?: readonly string[]; timeoutMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<Map<string, string>> {
  const refs = only === undefined ? ['refs/heads/*'] : only.map(name => `refs/heads/${name}`);
  const args = ['ls-remote', '--quiet', ...otherSide(url, 'upload-pack', 'upload-pack'), '--end-of-options'];
  const answer = await askRemote([...args, url, ...refs], { url, cwd: '/', ...call });
  if (answer.exitCode !== 0) throw remoteFault(url, answer);
  const lines = answer.stdout.split('\n').map(line => line.split('\t'));
  const tips = lines.flatMap(([id = '', ref = '']) =>
    ref.startsWith('refs/heads/') ? [[ref.slice('refs/heads/'.length), id] as const] : [],
  );
  // A pattern also matches the end of a longer name.
  return new Map(only === undefined ? tips : tips.filter(([name]) => only.includes(name)));
}
