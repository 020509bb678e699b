/** The cache of a remote: made once, brought up to date for each who asks, and never ahead of the remote. */
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openMirror, pinBase } from '../../src/git/mirror.ts';
import { openRemote, refresh } from '../../src/git/remote-cache.ts';
import { tipOf } from '../../src/git/source.ts';
import { holdLock } from '../../src/os/file-lock.ts';
import { startGitServer } from '../support/git-server.ts';
import { makeRemote, plainGit, useGitConfig } from '../support/remote.ts';
import { git, refsOf, tempFolder } from '../support/repository.ts';

let folder: string;
beforeEach(() => {
  folder = tempFolder('cache');
  useGitConfig(folder, '');
});
afterEach(() => vi.unstubAllEnvs());

const home = () => join(folder, 'home');

test('is one bare repository for an address, with the branches of the remote and no tag', async () => {
  const remote = makeRemote(folder);
  remote.push('topic', { 'b.txt': 'b\n' });
  git(remote.bare, 'tag', 'v1', 'main');
  const source = await openRemote(home(), remote.url);
  expect(source).toMatchObject({ bare: true, format: 'sha1', remote: remote.url });
  await refresh(source);
  expect(refsOf(source.gitDir).split('\n')).toEqual([
    `refs/heads/main ${remote.tip('main')}`,
    `refs/heads/topic ${remote.tip('topic')}`,
  ]);
  expect(await openRemote(home(), remote.url)).toEqual(source);
  expect(readdirSync(join(home(), 'remotes'))).toHaveLength(1);
});

test('follows the remote: branches that move, are rewritten, or go away, and a folder that takes the place of one', async () => {
  const remote = makeRemote(folder);
  remote.push('moved', { 'b.txt': '1\n' });
  remote.push('place', { 'b.txt': '1\n' });
  const source = await openRemote(home(), remote.url);
  await refresh(source);
  remote.push('moved', { 'b.txt': '2\n' });
  git(remote.bare, 'update-ref', 'refs/heads/main', remote.tip('moved'));
  git(remote.bare, 'update-ref', '-d', 'refs/heads/place');
  remote.push('place/below', { 'c.txt': 'c\n' });
  await refresh(source);
  expect(refsOf(source.gitDir)).toBe(refsOf(remote.bare));
});

test('is no less than what was there when it was asked for, and many who ask at once share a fetch', async () => {
  const remote = makeRemote(folder);
  const server = await startGitServer(remote.root);
  const source = await openRemote(home(), `${server.address}/app.git`);
  const before = server.requests.length;
  const seen = await Promise.all(
    Array.from({ length: 12 }, async (_, index) => {
      const pushed = index % 4 === 0 ? remote.push(`b${index}`, { 'b.txt': `${index}\n` }) : null;
      await refresh(source);
      return pushed === null || (await tipOf(source, `b${index}`)) === pushed;
    }),
  );
  expect(seen).toEqual(seen.map(() => true));
  // A fetch asks for the refs first, with a GET.
  expect(server.requests.slice(before).filter(one => one.startsWith('GET')).length).toBeLessThanOrEqual(5);
});

test('waits for another process that fetches, and an abort ends the waiting', async () => {
  const remote = makeRemote(folder);
  const source = await openRemote(home(), remote.url);
  const words = { code: 'INTERNAL', who: 'a test', missing: '', stuck: '' } as const;
  const release = await holdLock(source.gitDir, 10_000, words);
  const cancel = new AbortController();
  const first = refresh(source, cancel.signal);
  const second = refresh(source);
  cancel.abort('not wanted');
  await expect(first).rejects.toBe('not wanted');
  expect(await tipOf(source, 'main')).toBeNull();
  await release();
  await second;
  expect(await tipOf(source, 'main')).toBe(remote.tip('main'));
});

test('of a remote that is away stays as it was, and says so to each who asks', async () => {
  const remote = makeRemote(folder);
  const server = await startGitServer(remote.root);
  const source = await openRemote(home(), `${server.address}/app.git`);
  await refresh(source);
  const before = refsOf(source.gitDir);
  server.trouble.set('fetch', 503);
  await expect(refresh(source)).rejects.toMatchObject({ code: 'REMOTE_UNREACHABLE' });
  expect(refsOf(source.gitDir)).toBe(before);
  server.trouble.clear();
  const topic = remote.push('topic', { 'b.txt': 'b\n' });
  await refresh(source);
  expect(await tipOf(source, 'topic')).toBe(topic);
});

test('names objects as the remote does', async () => {
  const remote = makeRemote(folder, undefined, '--object-format=sha256');
  const source = await openRemote(home(), remote.url);
  await refresh(source);
  expect(source.format).toBe('sha256');
  expect(await tipOf(source, 'main')).toMatch(/^[0-9a-f]{64}$/);
});

test('of a remote without a branch is not made: there is nothing to begin at', async () => {
  const remote = makeRemote(folder);
  git(remote.bare, 'update-ref', '-d', 'refs/heads/main');
  await expect(openRemote(home(), remote.url)).rejects.toMatchObject({ code: 'UNKNOWN_BASE' });
  expect(readdirSync(join(home(), 'remotes'))).toEqual([]);
});

test('says in the name of the address that a base is not there', async () => {
  const remote = makeRemote(folder);
  const source = await openRemote(home(), remote.url);
  await refresh(source);
  const mirror = await openMirror(home(), source);
  expect(await pinBase(mirror, source, 'main', 'cell-1')).toBe(remote.tip('main'));
  await expect(pinBase(mirror, source, 'gone', 'cell-2')).rejects.toMatchObject({
    code: 'UNKNOWN_BASE',
    message: `${remote.url} has no branch "gone"`,
    hint: 'It has: main.',
  });
});

test('is cleared of the locks that a fetch left which was killed', async () => {
  const remote = makeRemote(folder);
  const source = await openRemote(home(), remote.url);
  await refresh(source);
  mkdirSync(join(source.gitDir, 'refs/heads/a'), { recursive: true });
  const old = new Date(Date.now() - 3_600_000);
  for (const lock of ['refs/heads/main.lock', 'refs/heads/a/b.lock', 'packed-refs.lock', 'shallow.lock']) {
    writeFileSync(join(source.gitDir, lock), '');
    utimesSync(join(source.gitDir, lock), old, old);
  }
  const main = remote.push('main', { 'b.txt': 'b\n' });
  remote.push('a/b', { 'b.txt': 'b\n' });
  await refresh(source);
  expect(await tipOf(source, 'main')).toBe(main);
});

test('runs no hook: neither one of the user who fetches nor one of a remote that is a folder', async () => {
  const remote = makeRemote(folder);
  const hooks = join(folder, 'hooks');
  for (const place of [hooks, join(remote.bare, 'hooks')]) {
    mkdirSync(place, { recursive: true });
    for (const name of ['reference-transaction', 'post-checkout', 'pre-auto-gc']) {
      writeFileSync(join(place, name), `#!/bin/sh\ntouch ${folder}/ran-${name}\n`, { mode: 0o755 });
    }
  }
  useGitConfig(folder, `[core]\n\thooksPath = ${hooks}\n`);
  const source = await openRemote(home(), remote.url);
  await refresh(source);
  expect(await tipOf(source, 'main')).toBe(remote.tip('main'));
  const ran = () => readdirSync(folder).filter(name => name.startsWith('ran-'));
  expect(ran()).toEqual([]);
  // They do run for a git that is left to itself.
  plainGit(source.gitDir, 'fetch', remote.bare, 'main:refs/heads/x');
  expect(ran()).toEqual(['ran-reference-transaction']);
});

test('is made anew when it is gone', async () => {
  const remote = makeRemote(folder);
  const source = await openRemote(home(), remote.url);
  rmSync(source.path, { recursive: true });
  const again = await openRemote(home(), remote.url);
  await refresh(again);
  expect(existsSync(join(again.path, 'HEAD'))).toBe(true);
  expect(await tipOf(again, 'main')).toBe(remote.tip('main'));
});
