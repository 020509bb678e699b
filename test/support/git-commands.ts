/** Which commands git is started with, by whomever of this process. */
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import { writeFiles } from './repository.ts';

/**
 * From now on, until `vi.unstubAllEnvs`, a git comes first on PATH that notes the command it is started with, in `folder`.
 * The function gives what was noted since it was called last, sorted.
 */
export function noteCommands(folder: string): () => string[] {
  const [bin, notes] = [join(folder, 'bin'), join(folder, 'notes')];
  const path = process.env.PATH ?? '';
  const script = `#!/bin/sh
PATH='${path}'
case " $* " in
${[
  'ls-files',
  'ls-tree',
  'add',
  'write-tree',
  'diff-index',
  'diff-tree',
  'read-tree',
  'commit-tree',
  'worktree',
  'fetch',
]
  .concat(['for-each-ref', 'update-ref', 'update-index', 'check-ignore'])
  .map(name => `*' ${name} '*) echo ${name} >>'${notes}' ;;`)
  .join('\n')}
*) echo "another: $*" >>'${notes}' ;;
esac
exec git "$@"
`;
  writeFiles(bin, { git: script });
  chmodSync(join(bin, 'git'), 0o755);
  vi.stubEnv('PATH', `${bin}:${path}`);
  return () => {
    const noted = existsSync(notes) ? readFileSync(notes, 'utf8').trim().split('\n').sort() : [];
    rmSync(notes, { force: true });
    return noted;
  };
}
