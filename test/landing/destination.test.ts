/** Where `push` goes from a folder. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { refresh } from '../../src/git/remote-cache.ts';
import { openSource, tipOf } from '../../src/git/source.ts';
import { destinationOf } from '../../src/landing/destination.ts';
import { landRound } from '../../src/landing/land-round.ts';
import { localSsh, makeRemote, useGitConfig } from '../support/remote.ts';
import { commitAll, git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';
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

test('is landed on whatever the path of its folder is made of, and nothing is where a decoded path would lead', async () => {
  // The second is what git would make of the first, were that not encoded.
  const [bare, decoy] = ['%41', 'A'].map(part => join(folder, 'a b', `c${part}?#ü::'"\\+@&=$(x).git`)) as [
    string,
    string,
  ];
  mkdirSync(join(folder, 'a b'));
  for (const path of [bare, decoy]) git(folder, 'clone', '--quiet', '--bare', '--template=', top, path);
  const before = git(decoy, 'rev-parse', 'main');
  git(top, 'remote', 'add', 'origin', bare);
  writeFiles(top, { 'b.txt': 'b\n' });
  const commit = commitAll(top);
  const source = await openSource(top);
  const destination = await pushesTo();
  await refresh(destination);
  const { landed } = await landRound({
    ...{ source, destination, target: 'main', candidates: [{ taskId: 'a', commit }] },
    ...{ folder: join(folder, 'round'), author: { name: 'Pool', email: 'pool@example.com' } },
    judge: async () => ({ passed: true, tail: '' }),
  });
  expect(git(bare, 'log', '-1', '--format=%H %s', 'main')).toBe(`${landed} Land a`);
  expect(git(decoy, 'rev-parse', 'main')).toBe(before);
});

test('is not found by an address in which a path stands as it is, since git decodes that', () => {
  const bare = join(folder, 'c%41.git');
  git(folder, 'clone', '--quiet', '--bare', '--template=', top, bare);
  expect(() => git(folder, 'ls-remote', `file://${bare}`)).toThrow(/cA\.git/);
  expect(git(folder, 'ls-remote', `file://${bare.replace('%', '%25')}`)).toContain('refs/heads/main');
});

test('is refused where its path has a line break', async () => {
  git(top, 'config', 'remote.origin.url', `${makeRemote(folder).bare}\n/else`);
  await expect(pushesTo()).rejects.toMatchObject({ code: 'NO_SUCH_REMOTE' });
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

test('is reached by the programs of the user, and by none that the config of the repository names', async () => {
  const { bare, push } = makeRemote(folder);
  const commit = push('main', { 'b.txt': 'b\n' });
  const mark = join(folder, 'ran');
  git(top, 'remote', 'add', 'origin', `git@example.invalid:${bare}`);
  git(top, 'config', 'core.sshCommand', `touch ${mark}; false`);
  // The trap is a real one.
  expect(() => git(top, 'ls-remote', 'origin')).toThrow();
  expect(existsSync(mark)).toBe(true);
  rmSync(mark);
  useGitConfig(folder, `[core]\n\tsshCommand = ${localSsh(folder)}\n`);
  const destination = await pushesTo();
  await refresh(destination);
  expect(await tipOf(destination, 'main')).toBe(commit);
  expect(existsSync(mark)).toBe(false);
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
