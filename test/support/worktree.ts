/** What there is of linked worktrees in a repository, and a workspace that is one. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Source } from '../../src/git/source.ts';
import { prepareCells } from './repository.ts';

/** Names of all that is registered in a git folder, and of what was set aside there to be removed. */
export function registrations(gitDir: string): string[] {
  const folder = join(gitDir, 'worktrees');
  const aside = readdirSync(gitDir).filter(name => name.startsWith('cellpool-'));
  return [...(existsSync(folder) ? readdirSync(folder) : []), ...aside].sort();
}

/** As `prepareCells`, with cells that work in worktrees. */
export async function prepareWorktrees(
  make: Parameters<typeof prepareCells>[0],
  guard: (source: Source, folder: string) => Source = source => source,
) {
  const prepared = await prepareCells(make);
  const source = guard(prepared.source, prepared.folder);
  const spawn = (id = 'fix-1.0123abcd') => prepared.spawn(id, { worktree: { source, id } });
  return { ...prepared, source, spawn, gitDir: source.gitDir };
}
