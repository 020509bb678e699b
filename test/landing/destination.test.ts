/** Where `push` goes from a folder. */
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { openSource } from '../../src/git/source.ts';
import { destinationOf } from '../../src/landing/destination.ts';
import { makeRemote, useGitConfig } from '../support/remote.ts';
import { git, makeRepository, tempFolder } from '../support/repository.ts';
import { landingJobOf } from '../support/shown-landings.ts';

let folder: string;
let top: string;
beforeEach(() => {
  folder = tempFolder('destination');
  top = makeRepository(join(folder, 'source'));
});

async function pushesTo(remote?: string) {
  const { plan } = landingJobOf('a');
  const landing = remote === undefined ? {} : { landing: { remote } };
  const job = { land: 'push' as const, plan: { ...plan, ...landing } };
  return destinationOf(await openSource(top), job, { home: join(folder, 'home') });
}

test('a merge stays in the repository', async () => {
  const source = await openSource(top);
  expect(await destinationOf(source, landingJobOf('a'), { home: join(folder, 'home') })).toBe(source);
});

test('is origin, or the remote that is named, by absolute or relative path', async () => {
  const { bare, url } = makeRemote(folder);
  git(top, 'remote', 'add', 'origin', bare);
  git(top, 'remote', 'add', 'beside', '../served/app.git');
  expect((await pushesTo()).remote).toBe(url);
  expect((await pushesTo('beside')).remote).toBe(url);
});

test('is where the user pushes, whatever he fetches from and however his git rewrites it', async () => {
  const { bare, url } = makeRemote(folder);
  git(top, 'remote', 'add', 'origin', 'https://example.invalid/app.git');
  useGitConfig(folder, `[url "${bare}"]\n\tpushInsteadOf = https://example.invalid/app.git\n`);
  expect((await pushesTo()).remote).toBe(url);
  useGitConfig(folder, '');
  git(top, 'remote', 'set-url', '--push', 'origin', bare);
  expect((await pushesTo()).remote).toBe(url);
});

test('is refused by the name of the remote where there is none, or where its address is not taken; no address is told', async () => {
  await expect(pushesTo()).rejects.toMatchObject({
    code: 'NO_SUCH_REMOTE',
    message: expect.stringContaining('origin'),
  });
  for (const address of [
    'https://me:hunter2@example.com/a.git',
    'ext::sh -c hunter2',
    'http://hunter2.example.com/a.git',
  ]) {
    git(top, 'config', 'remote.origin.url', address);
    const error = await pushesTo().catch(thrown => thrown);
    expect(error).toMatchObject({ code: 'NO_SUCH_REMOTE' });
    expect(JSON.stringify([error.message, error.facts, error.hint])).not.toContain('hunter2');
  }
});
