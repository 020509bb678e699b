import { execFile } from 'node:child_process';
import { existsSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { openMirror, pinBase, unpin } from '../../src/git/mirror.ts';
import { openSource } from '../../src/git/source.ts';
import { commitAll, git, makeRepository, refsOf, tempFolder, writeFiles } from '../support/repository.ts';

/** A repository made at `folder`/source by `make`, its mirror, and the mirror's home. */
async function prepare(make: (folder: string) => string) {
  const folder = tempFolder('mirror');
  const top = make(folder);
  const home = join(folder, 'home');
  const source = await openSource(top);
  return { folder, top, home, source, mirror: await openMirror(home, source) };
}

const plain = (folder: string) => makeRepository(join(folder, 'source'));
const complete = (path: string, commit: string) => git(path, 'rev-list', '--objects', commit).length > 0;

describe('a base is pinned with all its objects', () => {
  const kinds: [string, (folder: string) => string][] = [
    ['a plain repository', plain],
    ['a repository in a folder with spaces and quotes', folder => makeRepository(join(folder, `it's "my" ré po`))],
    [
      'a repository with packed refs and a linked worktree, named by the worktree',
      folder => {
        const top = plain(folder);
        git(top, 'pack-refs', '--all');
        git(top, 'worktree', 'add', '--quiet', '-b', 'side', join(folder, 'linked'));
        return join(folder, 'linked');
      },
    ],
    [
      'a bare repository',
      folder => {
        git(folder, 'clone', '--quiet', '--bare', plain(folder), 'bare.git');
        return join(folder, 'bare.git');
      },
    ],
    [
      'a repository that names objects by SHA-256',
      folder => makeRepository(join(folder, 's'), {}, '--object-format=sha256'),
    ],
  ];
  test.each(kinds)('of %s', async (_name, make) => {
    const { mirror, source, top } = await prepare(make);
    const commit = await pinBase(mirror, source, 'main', 'cell-1');
    expect(commit).toBe(git(top, 'rev-parse', 'main'));
    expect(git(mirror.path, 'rev-parse', 'refs/cells/cell-1')).toBe(commit);
    expect(complete(mirror.path, commit)).toBe(true);
  });

  test('of a shallow clone, also when it moves on and is cut off again', async () => {
    const { mirror, source, folder, top } = await prepare(at => {
      const full = plain(at);
      for (const content of ['b', 'c']) {
        writeFiles(full, { 'a.txt': content });
        commitAll(full);
      }
      git(at, 'clone', '--quiet', '--depth=1', pathToFileURL(full).href, 'shallow');
      return join(at, 'shallow');
    });
    const first = await pinBase(mirror, source, 'main', 'one');
    expect(git(mirror.path, 'rev-list', '--count', first)).toBe('1');
    writeFiles(join(folder, 'source'), { 'a.txt': 'd' });
    commitAll(join(folder, 'source'));
    git(top, 'fetch', '--quiet', '--depth=1', 'origin', 'main');
    git(top, 'reset', '--quiet', '--hard', 'FETCH_HEAD');
    const second = await pinBase(mirror, source, 'main', 'two');
    expect(second).not.toBe(first);
    expect(complete(mirror.path, second)).toBe(true);
  });
});

test('a mirror takes nothing but the base: no other branch, no tag', async () => {
  const { mirror, source, top } = await prepare(plain);
  git(top, 'tag', 'v1');
  git(top, 'checkout', '--quiet', '-b', 'secret');
  writeFiles(top, { 'secret.txt': 's' });
  const secret = commitAll(top);
  await pinBase(mirror, source, 'main', 'c');
  expect(refsOf(mirror.path)).not.toMatch(/secret|v1/);
  expect(() => git(mirror.path, 'cat-file', '-e', secret)).toThrow();
});

test('a base that is no branch is refused, and the message names what there is', async () => {
  const { mirror, source, top } = await prepare(plain);
  git(top, 'tag', 'v1');
  for (const base of ['nope', 'v1', 'main~0', 'HEAD', '--upload-pack=x']) {
    await expect(pinBase(mirror, source, base, 'c')).rejects.toMatchObject({
      code: 'UNKNOWN_BASE',
      hint: 'It has: main.',
    });
  }
  expect(refsOf(mirror.path)).toBe('');
});

test('a branch that moved is pinned where it is now, and only its last tip is remembered', async () => {
  const { mirror, source, top } = await prepare(plain);
  const first = await pinBase(mirror, source, 'main', 'one');
  writeFiles(top, { 'a.txt': 'b\n' });
  const second = commitAll(top);
  expect(await pinBase(mirror, source, 'main', 'two')).toBe(second);
  expect(git(mirror.path, 'rev-parse', 'refs/cells/one')).toBe(first);
  const bases = refsOf(mirror.path)
    .split('\n')
    .filter(line => line.startsWith('refs/bases/'));
  expect(bases.map(line => line.split(' ')[1])).toEqual([second]);
});

test('unpinning frees the cell and may be done twice', async () => {
  const { mirror, source } = await prepare(plain);
  await pinBase(mirror, source, 'main', 'one');
  await unpin(mirror, 'one');
  await unpin(mirror, 'one');
  expect(refsOf(mirror.path)).not.toContain('refs/cells');
});

test('an abort ends the waiting with its reason, and the others still get their base', async () => {
  const { mirror, source } = await prepare(plain);
  const stop = new AbortController();
  const aborted = pinBase(mirror, source, 'main', 'one', stop.signal);
  const other = pinBase(mirror, source, 'main', 'two');
  stop.abort(new Error('stopped'));
  await expect(aborted).rejects.toThrow('stopped');
  expect(await other).toMatch(/^[0-9a-f]{40}$/);
  await expect(pinBase(mirror, source, 'main', 'three', AbortSignal.abort(new Error('early')))).rejects.toThrow(
    'early',
  );
});

test('a mirror that was left half made by a crash is removed when it is old', async () => {
  const { folder, home, source } = await prepare(plain);
  const half = join(home, 'mirrors', 'new-half');
  git(folder, 'init', '--quiet', '--bare', half);
  utimesSync(half, 0, 0);
  const other = await openSource(makeRepository(join(folder, 'other')));
  await Promise.all([openMirror(home, other), openMirror(home, source)]);
  expect(existsSync(half)).toBe(false);
});

test('two processes that open one mirror and pin 25 cells each, at once, both succeed', async () => {
  const folder = tempFolder('race');
  const top = makeRepository(join(folder, 'source'), { 'a.txt': 'a\n', 'b/c.txt': 'c\n' });
  const built = join(folder, 'built');
  const tsc = join(import.meta.dirname, '../../node_modules/.bin/tsc');
  const flags = ['-p', 'tsconfig.build.json', '--outDir', built];
  // Errors in files that have nothing to do with this one are not this test's business; tsc writes all the same.
  await promisify(execFile)(tsc, flags).catch(() => undefined);
  symlinkSync(join(import.meta.dirname, '../../node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const program = `
    import { openMirror, pinBase } from './built/git/mirror.js';
    import { openSource } from './built/git/source.js';
    const [top, home, name] = process.argv.slice(2);
    const source = await openSource(top);
    const mirror = await openMirror(home, source);
    const cells = Array.from({ length: 25 }, (_, n) => pinBase(mirror, source, 'main', name + n));
    process.stdout.write(JSON.stringify({ path: mirror.path, commits: await Promise.all(cells) }));
  `;
  writeFileSync(join(folder, 'pin.js'), program);
  const start = (name: string) =>
    promisify(execFile)(process.execPath, [join(folder, 'pin.js'), top, join(folder, 'home'), name]);
  const [one, two] = (await Promise.all([start('a'), start('b')])).map(end => JSON.parse(end.stdout));
  expect(one.path).toBe(two.path);
  expect(new Set([...one.commits, ...two.commits])).toEqual(new Set([git(top, 'rev-parse', 'main')]));
  expect(readdirSync(join(folder, 'home', 'mirrors'))).toHaveLength(1);
  expect(refsOf(one.path).match(/refs\/cells\//g)).toHaveLength(50);
}, 60_000);
