/** Real folders with real files, and the notes of a task. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type FolderOptions, FolderSource } from '../../../src/producer/folder/folder-source.ts';
import type { News, Note } from '../../../src/producer/source/task-source.ts';
import { tempFolder } from '../../support/repository.ts';

/** In lines and assignees. */
export const POOL = 'k3x9';

export const SIGNAL = new AbortController().signal;

export interface TestFolder {
  folder: string;
  source: FolderSource;
  put(files: Record<string, string>): void;
  text(file: string): string;
  /** Writes one note of the task of the item's own name. */
  tell(item: string, news: News & { key?: string; taskId?: string }): ReturnType<FolderSource['write']>;
}

export async function openFolder(
  files: Record<string, string>,
  options: Partial<FolderOptions> = {},
): Promise<TestFolder> {
  const folder = options.folder ?? tempFolder('folder');
  const put = (more: Record<string, string>) => {
    for (const [path, text] of Object.entries(more)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
  };
  put(files);
  const source = await FolderSource.open({ folder, pool: POOL, ...options });
  return {
    folder,
    source,
    put,
    text: file => readFileSync(join(folder, file), 'utf8'),
    tell: (item, { key, taskId, ...news }) => {
      const note: Note = { ...(news as News), item, taskId: taskId ?? item, key: key ?? keyOf(news as News) };
      return source.write(note, SIGNAL);
    },
  };
}

const keyOf = (news: News) => (news.kind === 'attempt' ? `attempt:${news.attempt}` : `${news.kind}:1`);

export const CLAIM: News = { kind: 'claim' };
export const COMMIT = '0123456789abcdef0123456789abcdef01234567';
export const DONE = { kind: 'done', attempt: 2, commit: COMMIT, branch: 'cellpool/fix' } as const;
export const attempt = (number: number, message = 'the tests failed'): News => ({
  kind: 'attempt',
  attempt: number,
  outcome: 'reverted',
  message,
});
export const FAILED: News = {
  kind: 'failed',
  attempt: 3,
  outcome: 'reverted',
  message: 'the tests failed with code 1',
};
