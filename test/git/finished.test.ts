/** What a commit tells of the attempt that made it, to a worker that comes after its own worker's death. */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { withTrailers } from '../../src/git/commands.ts';
import { finishedWork } from '../../src/git/finished.ts';
import { openSource } from '../../src/git/source.ts';
import { commitAll, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';

const ENQUEUED_AT = Date.parse('2026-11-22T19:03:11.123Z');
const ENQUEUED = '2026-11-22T19:03:11.123Z';

async function repositoryWith(message: string) {
  const top = makeRepository(join(tempFolder(), 'source'), { 'a.txt': 'a\n', 'b.txt': 'b\n' });
  git(top, 'switch', '--quiet', '-c', 'cellpool/fix-1');
  writeFiles(top, { 'a.txt': 'changed\n', 'new ü.txt': 'new\n' });
  const commit = commitAll(top, message);
  git(top, 'switch', '--quiet', 'main');
  const source = await openSource(top);
  const ask = (taskId = 'fix-1', enqueuedAt = ENQUEUED_AT, branch = 'cellpool/fix-1') =>
    finishedWork(source, { branch, taskId, enqueuedAt });
  return { top, commit, ask };
}

const TRAILERS = { Task: 'fix-1', Attempt: '2', Tokens: '1234', Enqueued: ENQUEUED };

test('the commit of this enqueuing of the task tells its attempt, its tokens and its files', async () => {
  const { commit, ask } = await repositoryWith(withTrailers('Fix it', TRAILERS));
  expect(await ask()).toEqual({ commit, attempt: 2, tokensUsed: 1234, filesModified: ['a.txt', 'new ü.txt'] });
});

test('a commit of an earlier enqueuing of the same task is none of this one', async () => {
  const { ask } = await repositoryWith(withTrailers('Fix it', TRAILERS));
  expect(await ask('fix-1', ENQUEUED_AT + 1)).toBeNull();
});

test('a commit of another task, or without our trailers, is none', async () => {
  const other = await repositoryWith(withTrailers('Fix it', { ...TRAILERS, Task: 'fix-10' }));
  expect(await other.ask()).toBeNull();
  const plain = await repositoryWith('Fix it by hand');
  expect(await plain.ask()).toBeNull();
});

test('words in the message that look like trailers are not taken for them', async () => {
  const { ask } = await repositoryWith(`Task: fix-1\n\nEnqueued: ${ENQUEUED}\nTask: fix-1\n\nmore words`);
  expect(await ask()).toBeNull();
});

test('without the branch there is nothing', async () => {
  const { ask } = await repositoryWith(withTrailers('Fix it', TRAILERS));
  expect(await ask('fix-1', ENQUEUED_AT, 'cellpool/fix-2')).toBeNull();
});

test('a repository that cannot be read is no answer: taken for one, the work would be done again', async () => {
  const { top, ask } = await repositoryWith(withTrailers('Fix it', TRAILERS));
  renameSync(top, `${top}.away`);
  await expect(ask()).rejects.toMatchObject({ code: 'GIT_FAILED' });
});
