/** The commit of an attempt, made in the record of its workspace, where `bringHome` finds it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError, messageOf } from '../errors.ts';
import { ownGitOk } from '../git/git.ts';
import { identityOf } from '../git/identity.ts';
import type { Author } from './agent-git.ts';

/** In the record: the branch whose tip is the finished commit. */
export const FINISHED = 'refs/heads/finished';

export interface NewCommit {
  /** The record's. */
  gitDir: string;
  tree: string;
  /** Full id. */
  parent: string;
  message: string;
  author: Author;
}

/** Makes it as the tip of `FINISHED` and returns its full id. @throws {CellpoolError} COMMIT_FAILED */
export async function makeCommit({ gitDir, tree, parent, message, author }: NewCommit): Promise<string> {
  const args = ['commit-tree', tree, '-p', parent, '-F', '-'];
  const id = (await ownGitOk(args, { gitDir, input: message, env: identityOf(author) }, 'COMMIT_FAILED')).trim();
  // As git would: a record keeps its refs in files, nobody else writes any there, and it is read after this only.
  await writeFile(join(gitDir, FINISHED), `${id}\n`).catch(cause => {
    throw new CellpoolError('COMMIT_FAILED', `the commit cannot be named: ${messageOf(cause)}`, { cause });
  });
  return id;
}
