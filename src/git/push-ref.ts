/** One branch of a remote is moved by compare-and-swap, made or removed; nothing else goes along. */
import type { RunResult } from '../os/run.ts';
import { askRemote, otherSide } from './remote.ts';

export interface RefPush {
  branch: string;
  /** Where it must be now; null: it may not exist. */
  from: string | null;
  /** Where it is to be, which the repository has; null: it is to be removed. */
  to: string | null;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** Whatever the user's own pushes take along. */
const ALONE = ['--no-verify', '--no-follow-tags', '--no-signed', '--recurse-submodules=no', '--no-force-if-includes'];

/** In the porcelain form; a non-zero exit code is not an error here. @throws as `askRemote` */
export function pushRef(gitDir: string, url: string, { branch, from, to, ...call }: RefPush): Promise<RunResult> {
  const ref = `refs/heads/${branch}`;
  const args = ['push', '--porcelain', ...ALONE, `--force-with-lease=${ref}:${from ?? ''}`];
  const side = otherSide(url, 'receive-pack', 'receive-pack');
  return askRemote([...args, ...side, '--end-of-options', url, `${to ?? ''}:${ref}`], {
    ...{ url, gitDir, ...call },
    config: ['push.pushOption='],
  });
}
