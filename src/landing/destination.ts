/** Where a target is: in the repository of the candidates, or in a remote of it. */
import { resolve } from 'node:path';
import { DEFAULTS } from '../config.ts';
import { CellpoolError } from '../errors.ts';
import { remoteGit } from '../git/git.ts';
import { openRemote } from '../git/remote-cache.ts';
import { nameOf, type Source } from '../git/source.ts';
import type { LandingJob } from '../job/landing.ts';
import { isUrl, urlFaults } from '../job/repository.ts';

/**
 * A repository that is named by URL is its own remote. The cache of another one may be old: see `refresh`. An address is
 * all that is taken from the repository's own config, which an agent may have written: programs that it names for the way
 * there (`core.sshCommand`, `credential.*`) do not count, only those of the user's config, for they run as the worker.
 * @throws {CellpoolError} NO_SUCH_REMOTE when the repository has no such remote, or one whose address is not taken; and
 * what `openRemote` throws
 */
export async function destinationOf(
  source: Source,
  { land, plan }: Pick<LandingJob, 'land' | 'plan'>,
  { home, signal }: { home: string; signal?: AbortSignal | undefined },
): Promise<Source> {
  if (land === 'merge' || source.remote !== undefined) return source;
  return openRemote(home, await urlOf(source, plan.landing?.remote ?? DEFAULTS.landing.remote), signal);
}

/** As the user's git pushes there. What it says is not repeated where it is refused: it may hold a password. */
async function urlOf(source: Source, remote: string): Promise<string> {
  const found = await remoteGit(['remote', 'get-url', '--push', remote], { gitDir: source.gitDir, protocols: 'none' });
  const line = found.stdout.replace(/\n$/, '');
  const refuse = (what: string) =>
    new CellpoolError('NO_SUCH_REMOTE', `remote ${remote} of ${nameOf(source)} ${what}`, {
      hint: `See git remote -v there; "landing.remote" in cellpool.yaml names another one.`,
      facts: { repository: nameOf(source), remote },
    });
  if (found.exitCode !== 0 || line === '') throw refuse('is not there');
  const url = isUrl(line) ? line : fileUrl(resolve(source.path, line));
  const faults = urlFaults(url);
  if (faults.length > 0) throw refuse(`has an address that ${faults.join(', and ')}`);
  return url;
}

/** Of an absolute path, in which any character may be: git decodes what is encoded in an address, also of a file. */
function fileUrl(path: string): string {
  return `file://${path.split('/').map(encodeURIComponent).join('/')}`;
}
