/** What a repository itself may hold to lead out, to run something, or to break revert: all of it is in the base. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commit, markSetupDone, revert, saveDiff, snapshot } from '../../src/cell/settle.ts';
import { removeWorkspace, type Workspace } from '../../src/cell/workspace.ts';
import type { Source } from '../../src/git/source.ts';
import { bytePath, bytePictureOf } from '../support/byte-tree.ts';
import { commitTree, type Entry } from '../support/random-tree.ts';
import { commitAll, git, gitWith, makeRepository, prepareCells, writeFiles } from '../support/repository.ts';

const file = (text: string, executable = false): Entry => ({ kind: 'file', content: { text }, executable });
const SUBMODULE: Entry = { kind: 'submodule' };

/** Cells on a repository whose base is exactly `tree`. */
async function cellsOn(tree: Record<string, Entry>) {
  const cells = await prepareCells({});
  commitTree(
    cells.top,
    Object.entries(tree).map(([path, entry]) => ({ path: bytePath(path), entry })),
  );
  return { ...cells, marker: join(cells.folder, 'ran') };
}

/** All that a worker does with a workspace, in its order. */
async function wholeLife(workspace: Workspace, source: Source, edit: () => void) {
  const before = bytePictureOf(bytePath(workspace.workspacePath));
  await markSetupDone(workspace);
  expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
  edit();
  const taken = await snapshot(workspace);
  await saveDiff(workspace, taken, join(dirname(workspace.workspacePath), 'diff.patch'));
  const made = await commit(workspace, {
    source,
    branch: 'cellpool/fix-1',
    taskId: 'fix-1',
    expectedOld: null,
    message: 'Fix',
    author: { name: 'A', email: 'a@b' },
    snapshot: taken,
    trailers: {},
  });
  await revert(workspace);
  expect(bytePictureOf(bytePath(workspace.workspacePath))).toEqual(before);
  return made.filesModified;
}

test('drivers that the repository asks for run nowhere, also when the user has set them up, and LFS files stay pointers', async () => {
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n';
  const { spawn, source, top, marker } = await cellsOn({
    '.gitattributes': file(
      '*.bin filter=lfs diff=lfs merge=lfs -text\n*.txt filter=evil diff=evil merge=evil ident\n* export-subst\n',
    ),
    'sub/.gitattributes': file('* filter=evil -text\n'),
    '.lfsconfig': file('[lfs]\n\turl = ext::sh -c "touch ran"\n[core]\n\tfsmonitor = ./run.sh\n'),
    '.gitconfig': file('[core]\n\tfsmonitor = ./run.sh\n'),
    'model.bin': file(pointer),
    'a.txt': file('a\n'),
    'sub/b.txt': file('b\n'),
    'run.sh': file('#!/bin/sh\nexit 0\n', true),
  });
  const trap = join(top, '.git/trap');
  writeFileSync(trap, `#!/bin/sh\ntouch '${marker}'\ncat\n`, { mode: 0o755 });
  for (const name of ['lfs', 'evil']) {
    for (const key of ['clean', 'smudge', 'process']) git(top, 'config', `filter.${name}.${key}`, trap);
    git(top, 'config', `filter.${name}.required`, 'true');
    for (const key of ['command', 'textconv']) git(top, 'config', `diff.${name}.${key}`, trap);
    git(top, 'config', `merge.${name}.driver`, trap);
  }
  const workspace = await spawn();
  const at = workspace.workspacePath;
  expect(readFileSync(join(at, 'model.bin'), 'utf8')).toBe(pointer);
  const changed = await wholeLife(workspace, source, () => writeFiles(at, { 'a.txt': 'A\n', 'sub/c.txt': 'c\n' }));
  expect(changed).toEqual(['a.txt', 'sub/c.txt']);
  expect(existsSync(marker)).toBe(false);
});

test('.gitmodules with urls that run something and paths that lead out makes nothing but empty folders', async () => {
  const { spawn, source, folder, marker } = await cellsOn({
    '.gitmodules': file(
      '[submodule "lib"]\n\tpath = lib\n\turl = ext::sh -c "touch% ran"\n\tfetchRecurseSubmodules = true\n' +
        '[submodule "out"]\n\tpath = ../outside\n\turl = file:///etc\n' +
        '[submodule "hooks"]\n\tpath = .git/hooks\n\turl = ../x\n',
    ),
    lib: SUBMODULE,
    '-u': SUBMODULE,
    'deep/er': SUBMODULE,
    'a.txt': file('a\n'),
  });
  const workspace = await spawn();
  const at = workspace.workspacePath;
  expect(readdirSync(join(at, 'lib'))).toEqual([]);
  expect(await wholeLife(workspace, source, () => writeFiles(at, { 'a.txt': 'A\n' }))).toEqual(['a.txt']);
  const made = [marker, join(folder, 'outside'), ...['ran', '.git/hooks', '.git/modules'].map(name => join(at, name))];
  expect(made.filter(path => existsSync(path))).toEqual([]);
});

test('.gitmodules that git holds for an attack is never brought home, and does not break revert', async () => {
  const { spawn, source, top } = await cellsOn({
    '.gitmodules': file(`[submodule "../../evil"]\n\tpath = lib\n\turl = --upload-pack=touch\n\tupdate = !touch ran\n`),
    lib: SUBMODULE,
    'a.txt': file('a\n'),
  });
  const workspace = await spawn();
  const at = workspace.workspacePath;
  const before = bytePictureOf(bytePath(at));
  const work = wholeLife(workspace, source, () => writeFiles(at, { 'a.txt': 'A\n' }));
  await expect(work).rejects.toMatchObject({ code: 'COMMIT_FAILED', message: expect.stringContaining('gitmodules') });
  expect(git(top, 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/main');
  await revert(workspace);
  expect(bytePictureOf(bytePath(at))).toEqual(before);
});

test('links of the base lead the worker nowhere: what lies behind them is neither read, written nor removed', async () => {
  const { spawn, source, folder } = await prepareCells(at => {
    const top = makeRepository(join(at, 'source'));
    const links = { etc: '/etc', up: '..', over: '../../..', git: '.git', config: '.git/config', hooks: '.git/hooks' };
    for (const [name, to] of Object.entries(links)) symlinkSync(to, join(top, name));
    symlinkSync(join(at, 'outside'), join(top, 'outside'));
    symlinkSync(join(at, 'outside/attributes'), join(top, '.gitattributes'));
    symlinkSync(join(at, 'outside/ignore'), join(top, '.gitignore'));
    commitAll(top);
    return top;
  });
  const outside = join(folder, 'outside');
  writeFiles(outside, { 'secret.txt': 'secret\n', attributes: '* text eol=crlf\n', ignore: '*\n' });
  const before = bytePictureOf(bytePath(outside));
  const workspace = await spawn();
  const at = workspace.workspacePath;
  const changed = await wholeLife(workspace, source, () => {
    rmSync(join(at, 'up'));
    mkdirSync(join(at, 'up'));
    writeFiles(at, { 'up/made.txt': 'one\r\n', 'seen.txt': 's\n' });
  });
  // The rules behind the links did not hold: nothing was ignored.
  expect(changed).toEqual(['seen.txt', 'up', 'up/made.txt']);
  await removeWorkspace(dirname(at));
  expect(bytePictureOf(bytePath(outside))).toEqual(before);
});

test('files named like options, refs and magic are files', async () => {
  const names = [
    '-rf',
    '--help',
    '--upload-pack=touch ran',
    '-c',
    'core.fsmonitor=x',
    'HEAD',
    'refs/heads/main',
    ':(top)x',
  ];
  const more = [':!x', '@{-1}', '@', '*', '{a,b}', '$(touch ran)', '`touch ran`', ';touch ran', 'CON', 'a:b'];
  const odd = [...names, ...more];
  const { spawn, source, top } = await cellsOn(Object.fromEntries(odd.map(name => [name, file('x\n')])));
  const workspace = await spawn();
  const at = workspace.workspacePath;
  const changed = await wholeLife(workspace, source, () => {
    for (const name of odd) writeFiles(at, { [name]: 'edited\n' });
    rmSync(join(at, '*'));
  });
  expect(changed).toEqual([...odd].sort());
  const committed = git(top, 'ls-tree', '-r', '-z', '--name-only', 'cellpool/fix-1').split('\0').filter(Boolean);
  expect(committed.sort()).toEqual(odd.filter(name => name !== '*').sort());
  expect(existsSync(join(at, 'ran'))).toBe(false);
});

test('a path of 4000 bytes is checked out, worked beside, reverted and removed', async () => {
  const deep = [...Array.from({ length: 19 }, () => 'd'.repeat(200)), 'x'.repeat(180)].join('/');
  expect(deep.length).toBeGreaterThan(3_990);
  const { spawn } = await cellsOn({ [deep]: file('deep\n'), 'a.txt': file('a\n') });
  const workspace = await spawn();
  const at = workspace.workspacePath;
  expect((await snapshot(workspace)).changed).toBe(false);
  writeFiles(at, { 'a.txt': 'A\n' });
  expect((await snapshot(workspace)).filesModified).toEqual(['a.txt']);
  expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  expect((await snapshot(workspace)).changed).toBe(false);
  await removeWorkspace(dirname(at));
  expect(existsSync(dirname(at))).toBe(false);
});

describe('a base that holds what git keeps for itself is refused, with nothing checked out', () => {
  /** A tree as no `git add` makes it. */
  function plant(top: string, path: string[]): void {
    let entry = `100755 blob ${gitWith(Buffer.from('[core]\n\tfsmonitor = touch ran\n'), top, 'hash-object', '-w', '--stdin')}`;
    for (const name of [...path].reverse()) {
      entry = `040000 tree ${gitWith(Buffer.from(`${entry}\t${name}\n`), top, 'mktree')}`;
    }
    const made = git(top, 'commit-tree', '-m', 'planted', entry.split(' ')[2] ?? '');
    git(top, 'update-ref', 'refs/heads/main', made);
  }

  test.each([
    [['.git', 'config']],
    [['deep', '.git', 'config']],
    [['.GIT', 'hooks', 'post-checkout']],
    [['git~1', 'config']],
    [['..', 'ran']],
    [['.', 'ran']],
  ])('%j', async path => {
    const { spawn, top, folder } = await prepareCells({});
    plant(top, path);
    await expect(spawn()).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
    expect(readdirSync(join(folder, 'home/cells/cell-1'))).toEqual([]);
    expect(existsSync(join(folder, 'home/cells/ran'))).toBe(false);
  });
});

test('a repository within the repository is an empty folder to a cell, and what is planted in it runs nowhere', async () => {
  const { spawn, source, folder } = await prepareCells(at => {
    const top = makeRepository(join(at, 'source'));
    const nested = makeRepository(join(top, 'vendor'), { 'v.txt': 'v\n' });
    writeFileSync(join(nested, '.git/trap'), `#!/bin/sh\ntouch '${join(at, 'ran')}'\n`);
    chmodSync(join(nested, '.git/trap'), 0o755);
    git(nested, 'config', 'core.fsmonitor', join(nested, '.git/trap'));
    git(top, '-c', 'advice.addEmbeddedRepo=false', 'add', '--all');
    git(top, 'commit', '--quiet', '-m', 'a pointer to a commit that nobody else has');
    return top;
  });
  const workspace = await spawn();
  const at = workspace.workspacePath;
  expect(readdirSync(join(at, 'vendor'))).toEqual([]);
  expect(await wholeLife(workspace, source, () => writeFiles(at, { 'a.txt': 'A\n' }))).toEqual(['a.txt']);
  expect(existsSync(join(folder, 'ran'))).toBe(false);
});
