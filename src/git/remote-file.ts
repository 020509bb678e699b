/** A single file of a remote's branch, without its history and, where the server can leave them out, other files. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InvalidInput } from '../errors.ts';
import { ownGitOk } from './git.ts';
import { askRemote, otherSide, remoteFault } from './remote.ts';

export interface RemoteFile {
  url: string;
  /** It must be there. */
  branch: string;
  /** In the top folder. */
  name: string;
  /** For each of two calls, in milliseconds. */
  timeoutMs: number;
}

/**
 * Calls `use` with a folder that holds the file, if the branch has one, and nothing else; it is gone afterwards.
 * @throws {InvalidInput} when the branch has a link or a folder of that name. {CellpoolError} REMOTE_UNREACHABLE,
 * REMOTE_REFUSED, NO_SUCH_REMOTE, NOT_A_REPOSITORY, GIT_FAILED
 */
export async function withRemoteFile<T>(file: RemoteFile, use: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'cellpool-file-'));
  try {
    const content = await contentOf(file, join(folder, 'tip.git'));
    await rm(join(folder, 'tip.git'), { recursive: true, force: true });
    if (content !== null) await writeFile(join(folder, file.name), content);
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function contentOf({ url, branch, name, timeoutMs }: RemoteFile, gitDir: string): Promise<Buffer | null> {
  const side = otherSide(url, 'upload-pack', 'upload-pack');
  const tip = ['--bare', '--depth=1', '--single-branch', `--branch=${branch}`, '--no-tags', '--template='];
  const filter = side.length === 0 ? ['--filter=blob:none'] : [];
  const args = ['clone', '--quiet', ...tip, ...filter, ...side, '--end-of-options', url, gitDir];
  const cloned = await askRemote(args, { url, cwd: '/', timeoutMs });
  if (cloned.exitCode !== 0) throw remoteFault(url, cloned);
  const [, mode, id] =
    /^(\d+) \w+ ([0-9a-f]+)\t/.exec(await ownGitOk(['ls-tree', '-z', 'HEAD', '--', name], { gitDir })) ?? [];
  if (mode === undefined || id === undefined) return null;
  if (!mode.startsWith('100'))
    throw new InvalidInput([{ where: name, what: `is no file on branch ${branch} of ${url}` }]);
  // What was left out is fetched when it is asked for.
  const call = { url, gitDir, timeoutMs, bytes: true, env: { GIT_NO_LAZY_FETCH: '0' } };
  const found = await askRemote(['cat-file', 'blob', id], call);
  if (found.exitCode !== 0) throw remoteFault(url, found);
  return Buffer.from(found.stdout, 'latin1');
}
