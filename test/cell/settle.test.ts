import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { commit, markSetupDone, revert, saveDiff, snapshot } from '../../src/cell/settle.ts';
import type { Workspace } from '../../src/cell/workspace.ts';
import type { Source } from '../../src/git/source.ts';
import { bytePath, bytePictureOf, bytesOf } from '../support/byte-tree.ts';
import { commitTree } from '../support/random-tree.ts';
import { commitAll, git, makeRepository, pictureOf, prepareCells, refsOf, writeFiles } from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n', 'sub/b.txt': 'b\n', 'sub/c.txt': 'c\n', '.gitignore': 'ignored/\n*.log\n' };
const AUTHOR = { name: 'Cell Pool', email: 'pool@example.com' };

/** Commits what is in the workspace now, on `cellpool/fix-1`. */
async function commitNow(workspace: Workspace, source: Source, expectedOld: string | null = null) {
  const taken = await snapshot(workspace);
  const target = { source, branch: 'cellpool/fix-1', taskId: 'fix-1', expectedOld };
  return commit(workspace, { ...target, message: 'Fix', author: AUTHOR, snapshot: taken, trailers: { Task: 'fix-1' } });
}

/** The files of a tree that git made from the workspace. */
function filesIn(workspace: Workspace, tree: string): string[] {
  return git(workspace.recordDir, 'ls-tree', '-r', '-z', '--name-only', tree).split('\0').filter(Boolean).sort();
}

describe('a snapshot', () => {
  test('of an untouched workspace has no change', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
  });

  test('names every file that was made, edited, deleted or renamed, and none that is ignored', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    const at = workspace.workspacePath;
    writeFiles(at, { 'a.txt': 'A\n', 'new/deep.txt': 'n\n', 'ignored/x': 'x', 'debug.log': 'l' });
    rmSync(join(at, 'sub/b.txt'));
    renameSync(join(at, 'sub/c.txt'), join(at, 'moved.txt'));
    const taken = await snapshot(workspace);
    expect(taken).toMatchObject({
      changed: true,
      filesModified: ['a.txt', 'moved.txt', 'new/deep.txt', 'sub/b.txt', 'sub/c.txt'],
    });
    expect(await snapshot(workspace)).toEqual(taken);
  });

  test('sees an edit made at once, of the same length as what stood there', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'a.txt': 'z\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['a.txt']);
  });

  test('tells odd names exactly', async () => {
    const odd = [
      '-rf',
      'a b ',
      'it\'s "x"',
      'line\nbreak',
      'tab\there',
      'ünï',
      '*',
      '[x]',
      ':(top)y',
      '\\',
      '🦊/🦊',
    ].sort();
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, Object.fromEntries(odd.map(name => [name, 'x'])));
    expect((await commitNow(workspace, source)).filesModified).toEqual(odd);
    const names = git(top, 'diff', '-z', '--name-only', 'main', 'cellpool/fix-1').split('\0').filter(Boolean);
    expect(names.sort()).toEqual(odd);
  });

  test('includes what an agent committed by itself, and an executable bit alone', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'made.txt': 'm\n' });
    commitAll(workspace.workspacePath);
    git(workspace.workspacePath, 'checkout', '--quiet', '-b', 'elsewhere');
    chmodSync(join(workspace.workspacePath, 'a.txt'), 0o755);
    expect((await snapshot(workspace)).filesModified).toEqual(['a.txt', 'made.txt']);
  });

  test('records a symbolic link as a link and never reads what it points to', async () => {
    const { spawn, folder } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(folder, { 'outside/secret.txt': 'secret\n' });
    rmSync(join(workspace.workspacePath, 'sub'), { recursive: true });
    symlinkSync(join(folder, 'outside'), join(workspace.workspacePath, 'sub'));
    const taken = await snapshot(workspace);
    expect(taken.filesModified).toEqual(['sub', 'sub/b.txt', 'sub/c.txt']);
    expect(git(workspace.recordDir, 'ls-tree', taken.tree, 'sub')).toMatch(/^120000 /);
    expect(pictureOf(join(folder, 'outside'))).toHaveProperty('secret.txt');
  });

  test('is refused when something else stands in the place of the workspace, and revert leaves that alone', async () => {
    const { spawn, folder } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(folder, { 'outside/secret.txt': 'secret\n' });
    rmSync(workspace.workspacePath, { recursive: true });
    symlinkSync(join(folder, 'outside'), workspace.workspacePath);
    await expect(snapshot(workspace)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    await expect(markSetupDone(workspace)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect(readdirSync(join(folder, 'outside'))).toEqual(['secret.txt']);
  });

  test('does not hang on a pipe or a socket, and says which tracked file became one', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    execFileSync('mkfifo', [join(workspace.workspacePath, 'pipe')]);
    const server = createServer().listen(join(workspace.workspacePath, 'sock'));
    onTestFinished(() => new Promise<void>(done => void server.close(() => done())));
    await new Promise(done => server.once('listening', done));
    expect((await snapshot(workspace)).changed).toBe(false);
    rmSync(join(workspace.workspacePath, 'a.txt'));
    execFileSync('mkfifo', [join(workspace.workspacePath, 'a.txt')]);
    await expect(snapshot(workspace)).rejects.toMatchObject({
      code: 'COMMIT_FAILED',
      message: expect.stringContaining('a.txt'),
    });
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  });

  test.each([
    ['.gitignore', null],
    ['deep/.gitattributes', null],
    ['.gitmodules', null],
    ['nested/.git/HEAD', null],
    ['.git/index', null],
    ['elsewhere/HEAD', 'nested/.git'],
  ])('is refused at once for a pipe that git would read, and revert removes it: %s', async (path, pointer) => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    if (pointer !== null) {
      writeFiles(workspace.workspacePath, { [pointer]: `gitdir: ../${dirname(path)}\n` });
    }
    const pipe = join(workspace.workspacePath, path);
    rmSync(pipe, { force: true });
    mkdirSync(dirname(pipe), { recursive: true });
    execFileSync('mkfifo', [pipe]);
    const refused = { code: 'COMMIT_FAILED', message: expect.stringContaining(path) };
    await expect(snapshot(workspace)).rejects.toMatchObject(refused);
    await expect(markSetupDone(workspace)).rejects.toMatchObject(refused);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect((await snapshot(workspace)).changed).toBe(false);
  });

  test('is refused before a submodule is set aside, when git would read the attributes of what it has yet to compare', async () => {
    const { spawn } = await prepareCells(at => {
      const top = makeRepository(join(at, 'source'), FILES);
      const content = { text: 'one\n' };
      const files = ['.gitattributes', 'a.txt'].map(path => ({
        path,
        entry: { kind: 'file' as const, content, executable: false },
      }));
      commitTree(top, [...files, { path: 'lib', entry: { kind: 'submodule' as const } }]);
      return top;
    });
    const workspace = await spawn();
    // An index no younger than the files: git cannot tell from times alone that they are as they were.
    utimesSync(join(workspace.recordDir, 'index'), 1, 1);
    const pipe = join(workspace.workspacePath, '.gitattributes');
    rmSync(pipe);
    execFileSync('mkfifo', [pipe]);
    const refused = { code: 'COMMIT_FAILED', message: expect.stringContaining('.gitattributes') };
    await expect(snapshot(workspace)).rejects.toMatchObject(refused);
    rmSync(pipe);
    expect((await snapshot(workspace)).filesModified).toEqual(['.gitattributes']);
  });

  test('of files whose names are no text is exact, and revert removes them at the top too', async () => {
    const names = ['caf\xe9.txt', 'x\x80', 'x\x81'];
    const { spawn } = await prepareCells(at => {
      const top = makeRepository(join(at, 'source'), { '.gitattributes': '*.txt text\n' });
      const entry = { kind: 'file' as const, content: { text: 'one\r\n' }, executable: false };
      commitTree(top, [
        { path: '.gitattributes', entry: { ...entry, content: { text: '*.txt text\n' } } },
        ...names.map(path => ({ path, entry })),
        { path: 'sub\xff', entry: { kind: 'submodule' as const } },
      ]);
      return top;
    });
    const workspace = await spawn();
    const at = bytePath(workspace.workspacePath);
    const before = bytePictureOf(at);
    expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
    writeFileSync(bytesOf(`${at}/x\x80`), 'edited\n');
    mkdirSync(bytesOf(`${at}/new\xfe`));
    writeFileSync(bytesOf(`${at}/new\xfe/file`), 'n\n');
    expect((await snapshot(workspace)).filesModified).toEqual(['new\ufffd/file', 'x\ufffd']);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect(bytePictureOf(at)).toEqual(before);
  });

  test.each(['.GIT/x', 'deep/.Git/hooks/y', 'git~1/config'])('is refused for a path git forbids: %s', async path => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { [path]: 'x' });
    await expect(snapshot(workspace)).rejects.toMatchObject({
      code: 'COMMIT_FAILED',
      message: expect.stringContaining(path.split('/')[0] ?? ''),
    });
  });

  test('of a workspace in which everything is ignored has only changes of tracked files', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { '.gitignore': '*\n', 'new.txt': 'n', 'a.txt': 'A\n' });
    writeFiles(workspace.workspacePath, { '.git/info/exclude': '!*\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['.gitignore', 'a.txt']);
  });

  test('opens folders and files that an agent has locked', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'locked/x.txt': 'x' });
    chmodSync(join(workspace.workspacePath, 'locked/x.txt'), 0o000);
    chmodSync(join(workspace.workspacePath, 'locked'), 0o000);
    expect((await snapshot(workspace)).filesModified).toEqual(['locked/x.txt']);
  });
});

describe('a repository within the workspace', () => {
  test('is recorded file by file, at any depth, with and without commits, under both ignore files', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    const nested = join(workspace.workspacePath, 'pkg [x]/inner');
    makeRepository(nested, { 'code.ts': 'code\n', '.gitignore': 'own.tmp\n' });
    writeFiles(nested, { 'own.tmp': 't', 'debug.log': 'l', 'ignored/z': 'z', 'new\nline': 'n' });
    git(nested, 'init', '--quiet', 'deeper');
    writeFiles(nested, { 'deeper/x.txt': 'x\n' });
    git(workspace.workspacePath, 'init', '--quiet', 'empty');
    git(workspace.workspacePath, 'init', '--quiet', 'sub');
    writeFiles(workspace.workspacePath, { 'sub/added.txt': 'n\n' });
    const expected = [
      'pkg [x]/inner/.gitignore',
      'pkg [x]/inner/code.ts',
      'pkg [x]/inner/deeper/x.txt',
      'pkg [x]/inner/new\nline',
      'sub/added.txt',
    ];
    expect((await snapshot(workspace)).filesModified).toEqual(expected);
    rmSync(join(nested, 'code.ts'));
    writeFiles(nested, { 'later.ts': 'l\n' });
    const made = await commitNow(workspace, source);
    expect(made.filesModified).toEqual(expected.map(path => path.replace('code.ts', 'later.ts')).sort());
    expect(git(top, 'show', 'cellpool/fix-1:pkg [x]/inner/deeper/x.txt')).toBe('x');
  });

  test('that stands where a file was takes its place', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    rmSync(join(workspace.workspacePath, 'a.txt'));
    makeRepository(join(workspace.workspacePath, 'a.txt'), { 'inner.txt': 'i\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['a.txt', 'a.txt/inner.txt']);
  });

  test('that cannot be recorded file by file is refused by name, never kept as an empty pointer', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    const nested = makeRepository(join(workspace.workspacePath, 'nested'));
    // A name that is no text reaches us changed, so that we cannot name it to git.
    execFileSync('sh', ['-c', `mv "$1" "$(printf '%s/caf\\351' "$2")"`, 'sh', nested, workspace.workspacePath]);
    await expect(snapshot(workspace)).rejects.toMatchObject({
      code: 'COMMIT_FAILED',
      message: expect.stringContaining('caf'),
    });
  });

  test('that is a submodule which an ignore file names stays at its commit too, beside what else was changed', async () => {
    const { spawn } = await prepareCells(folder => {
      const top = makeRepository(join(folder, 'source'));
      const file = (text: string) => ({ kind: 'file' as const, content: { text }, executable: false });
      commitTree(top, [
        { path: '.gitignore', entry: file('*\n!*.md\n') },
        { path: 'lib', entry: { kind: 'submodule' as const } },
        { path: 'deep/lib', entry: { kind: 'submodule' as const } },
        { path: ':!lib/x', entry: { kind: 'submodule' as const } },
        { path: 'a.txt', entry: file('a\n') },
      ]);
      return top;
    });
    const workspace = await spawn();
    expect(await snapshot(workspace)).toMatchObject({ changed: false, filesModified: [] });
    writeFiles(workspace.workspacePath, { 'a.txt': 'changed\n', 'new.md': 'new\n', 'lib/x.md': 'x\n' });
    expect(await snapshot(workspace)).toMatchObject({ changed: true, filesModified: ['a.txt', 'new.md'] });
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  });

  test('that is a submodule of the base stays at its commit, and git never runs what is planted in it', async () => {
    const { spawn, folder } = await prepareCells(at => {
      const library = makeRepository(join(at, 'library'));
      const top = makeRepository(join(at, 'source'), FILES);
      git(top, '-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', library, 'lib');
      git(top, 'commit', '--quiet', '-m', 'submodule');
      return top;
    });
    const workspace = await spawn();
    expect((await snapshot(workspace)).changed).toBe(false);
    const marker = join(folder, 'ran');
    const inside = join(workspace.workspacePath, 'lib');
    rmSync(inside, { recursive: true });
    makeRepository(inside, { 'evil.txt': 'e' });
    writeFiles(inside, { '.git/trap': `#!/bin/sh\ntouch '${marker}'\n` });
    chmodSync(join(inside, '.git/trap'), 0o755);
    git(inside, 'config', 'core.fsmonitor', join(inside, '.git/trap'));
    writeFiles(inside, { 'evil.txt': 'changed' });
    expect((await snapshot(workspace)).changed).toBe(false);
    expect(existsSync(marker)).toBe(false);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect(readdirSync(inside)).toEqual([]);
    rmSync(inside, { recursive: true });
    expect((await snapshot(workspace)).filesModified).toEqual(['lib']);
    symlinkSync(join(folder, 'library'), inside);
    expect((await snapshot(workspace)).filesModified).toEqual(['lib']);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  });
});

test('nothing that an agent plants for git runs as the worker, in snapshot, commit, diff and revert', async () => {
  const { spawn, source, folder, top } = await prepareCells({ ...FILES, '.gitattributes': '*.txt filter=x diff=x\n' });
  const marker = join(folder, 'ran');
  const workspace = await spawn();
  const at = workspace.workspacePath;
  const trap = join(at, 'trap.sh');
  writeFileSync(trap, `#!/bin/sh\ntouch '${marker}'\ncat\n`, { mode: 0o755 });
  const hooks = ['pre-commit', 'post-checkout', 'post-index-change', 'reference-transaction', 'post-commit'];
  for (const hook of hooks) {
    mkdirSync(join(at, '.git/hooks'), { recursive: true });
    cpSync(trap, join(at, '.git/hooks', hook));
  }
  for (const key of ['filter.x.clean', 'filter.x.smudge', 'filter.x.process', 'diff.x.command', 'diff.x.textconv']) {
    git(at, 'config', key, trap);
  }
  git(at, 'config', 'core.fsmonitor', trap);
  git(at, 'config', 'diff.external', trap);
  git(at, 'config', 'core.attributesFile', join(at, '.gitattributes'));
  writeFiles(at, { 'a.txt': 'A\n', '.gitattributes': '* filter=x diff=x merge=x ident\n' });
  // The user's own hooks belong to the user's own git, not to ours.
  mkdirSync(join(top, '.git/hooks'), { recursive: true });
  for (const hook of hooks) cpSync(trap, join(top, '.git/hooks', hook));

  const taken = await snapshot(workspace);
  await saveDiff(workspace, taken, join(folder, 'diff.patch'));
  await commitNow(workspace, source);
  await revert(workspace);
  expect(existsSync(marker)).toBe(false);
  expect(existsSync(join(at, '.git/hooks'))).toBe(false);
});

describe('what setup leaves', () => {
  test('is no change and gets into no commit; the agent`s work beside it does', async () => {
    const { spawn, source, top } = await prepareCells({ ...FILES, 'lock.json': 'v1\n', 'pkg/main.ts': 'm\n' });
    const workspace = await spawn();
    const at = workspace.workspacePath;
    const left = { 'node_modules/x/index.js': 'x', 'pkg/left [1]*.txt': 'l', 'odd\nname ': 'o', '!x': 'y' };
    writeFiles(at, { ...left, 'ignored/i': 'i', 'lock.json': 'v2\n' });
    makeRepository(join(at, 'vendor/repo'));
    const kept = await markSetupDone(workspace);
    expect(kept).toEqual(['node_modules/']);
    expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
    writeFiles(at, { 'pkg/new.ts': 'n\n', 'node_modules/y/index.js': 'y', 'pkg/left 1.txt': 'other' });
    const made = await commitNow(workspace, source);
    expect(made.filesModified).toEqual(['pkg/left 1.txt', 'pkg/new.ts']);
    expect(git(top, 'show', 'cellpool/fix-1:lock.json')).toBe('v1');
    expect(readFileSync(join(at, 'lock.json'), 'utf8')).toBe('v2\n');
  });

  test('is committed where the agent changed a tracked file further, and put back where it did not', async () => {
    const { spawn, source, top } = await prepareCells({
      ...FILES,
      lock: 'v1\n',
      other: 'o1\n',
      gone: 'g\n',
      dir: 'd\n',
    });
    const workspace = await spawn();
    const at = workspace.workspacePath;
    writeFiles(at, { lock: 'v2\n', other: 'o2\n' });
    for (const path of ['gone', 'dir']) rmSync(join(at, path));
    await markSetupDone(workspace);
    expect((await snapshot(workspace)).changed).toBe(false);
    writeFiles(at, { lock: 'v2\nagent\n', 'dir/inner': 'i\n' });
    const made = await commitNow(workspace, source);
    expect(made.filesModified).toEqual(['dir', 'dir/inner', 'lock']);
    expect(git(top, 'show', 'cellpool/fix-1:lock')).toBe('v2\nagent');
    expect(git(top, 'show', 'cellpool/fix-1:other')).toBe('o1');
    expect(git(top, 'show', 'cellpool/fix-1:gone')).toBe('g');
  });

  test('does not keep out what the agent puts into a folder that setup made, or changes there', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    const at = workspace.workspacePath;
    writeFiles(at, { 'docs/generated.md': 'gen\n', 'docs/list.md': 'a\n' });
    expect(await markSetupDone(workspace)).toEqual([]);
    writeFiles(at, { 'docs/cache.md': 'cache\n', 'docs/list.md': 'a\nb\n' });
    const made = await commitNow(workspace, source);
    expect(made.filesModified).toEqual(['docs/cache.md', 'docs/list.md']);
    expect(git(top, 'show', 'cellpool/fix-1:docs/list.md')).toBe('a\nb');
  });

  test('keeps out a folder of thousands of files with all that comes into it later', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    const at = workspace.workspacePath;
    const many = Array.from({ length: 2_100 }, (_, index) => [`build-output/${index}.o`, 'o'] as const);
    writeFiles(at, Object.fromEntries(many));
    expect(await markSetupDone(workspace)).toEqual(['build-output/']);
    writeFiles(at, { 'build-output/more.o': 'o' });
    expect((await snapshot(workspace)).changed).toBe(false);
  });

  test('is forgotten by revert', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    const before = pictureOf(workspace.workspacePath);
    writeFiles(workspace.workspacePath, { 'left.txt': 'l', 'a.txt': 'setup\n' });
    await markSetupDone(workspace);
    await revert(workspace);
    expect(pictureOf(workspace.workspacePath)).toEqual(before);
    writeFiles(workspace.workspacePath, { 'left.txt': 'agent', 'a.txt': 'setup\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['a.txt', 'left.txt']);
  });
});

describe('a commit', () => {
  test('says who, from what and for which task, on a branch that was not there', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
    const made = await commitNow(workspace, source);
    expect(made).toEqual({
      commit: git(top, 'rev-parse', 'refs/heads/cellpool/fix-1'),
      branch: 'cellpool/fix-1',
      filesModified: ['a.txt'],
      replaced: null,
    });
    const shown = git(top, 'log', '-1', '--format=%an|%ae|%cn|%P|%B%(trailers:key=Task,valueonly)', made.commit);
    expect(shown).toContain(`Cell Pool|pool@example.com|Cell Pool|${workspace.baseCommit}|Fix\n\nTask: fix-1\nfix-1`);
    expect(refsOf(top).split('\n')).toHaveLength(2);
    expect(existsSync(join(top, '.git/FETCH_HEAD'))).toBe(false);
  });

  test('is never made of nothing', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    await expect(commitNow(workspace, source)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    expect(refsOf(top).split('\n')).toHaveLength(1);
  });

  test('is refused when the branch is not where it was expected, and moves nothing', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
    const expectations: (string | null)[] = ['1'.repeat(40), workspace.baseCommit];
    for (const expected of expectations) {
      await expect(commitNow(workspace, source, expected)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    }
    git(top, 'branch', 'cellpool/fix-1');
    const before = refsOf(top);
    await expect(commitNow(workspace, source, null)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    expect(refsOf(top)).toBe(before);
  });

  test('loses the race when the branch moves at the very last moment', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
    const target = {
      source,
      branch: 'cellpool/fix-1',
      taskId: 'fix-1',
      expectedOld: null,
      message: 'm',
      author: AUTHOR,
    };
    const taken = { snapshot: await snapshot(workspace), trailers: {} };
    const fence = async () => void git(top, 'branch', 'cellpool/fix-1');
    await expect(commit(workspace, { ...target, ...taken, fence })).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    expect(git(top, 'rev-parse', 'cellpool/fix-1')).toBe(workspace.baseCommit);
    git(top, 'branch', '-D', 'cellpool/fix-1');
    const refuse = async () => Promise.reject(new Error('fenced'));
    await expect(commit(workspace, { ...target, ...taken, fence: refuse })).rejects.toThrow('fenced');
    expect(refsOf(top).split('\n')).toHaveLength(1);
  });

  test('that replaces another keeps it reachable, but not one it builds on', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    const [one, two] = [await spawn('one'), await spawn('two')];
    writeFiles(one.workspacePath, { 'a.txt': 'one\n' });
    writeFiles(two.workspacePath, { 'a.txt': 'two\n' });
    const first = await commitNow(one, source);
    const second = await commitNow(two, source, first.commit);
    expect(second.replaced).toBe(`refs/cellpool/replaced/fix-1/${first.commit.slice(0, 12)}`);
    expect(git(top, 'rev-parse', second.replaced ?? '')).toBe(first.commit);
    expect(git(top, 'rev-parse', 'cellpool/fix-1')).toBe(second.commit);
    git(top, 'branch', '--force', 'cellpool/fix-1', 'main');
    expect((await commitNow(one, source, one.baseCommit)).replaced).toBeNull();
  });

  test.each(['the main working copy', 'a linked one'])(
    'is refused while its branch is checked out in %s',
    async where => {
      const { spawn, source, top, folder } = await prepareCells(FILES);
      if (where === 'a linked one')
        git(top, 'worktree', 'add', '--quiet', '-b', 'cellpool/fix-1', join(folder, 'linked'));
      else git(top, 'checkout', '--quiet', '-b', 'cellpool/fix-1');
      const workspace = await spawn();
      writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
      const before = refsOf(top);
      await expect(commitNow(workspace, source, workspace.baseCommit)).rejects.toMatchObject({
        code: 'BRANCH_CHECKED_OUT',
      });
      expect(refsOf(top)).toBe(before);
    },
  );

  test('tells which branch leaves no room for its own', async () => {
    const { spawn, source, top } = await prepareCells(FILES);
    git(top, 'branch', 'cellpool');
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
    await expect(commitNow(workspace, source)).rejects.toMatchObject({
      code: 'COMMIT_FAILED',
      message: 'branch cellpool leaves no room for cellpool/fix-1',
    });
  });
});

test('a saved diff makes the base into the snapshot, binary files, modes, links and odd names included', async () => {
  const { spawn, folder, top } = await prepareCells(FILES);
  const workspace = await spawn();
  const at = workspace.workspacePath;
  writeFiles(at, { 'a.txt': 'A\n', 'new\nline "q"': 'n', 'no-newline': 'x', '.gitattributes': '* -diff\n' });
  writeFileSync(join(at, 'binary'), Buffer.from(Array.from({ length: 5_000 }, (_, n) => (n * 7919) % 256)));
  chmodSync(join(at, 'sub/b.txt'), 0o755);
  rmSync(join(at, 'sub/c.txt'));
  symlinkSync('/nowhere', join(at, 'link'));
  const taken = await snapshot(workspace);
  const file = join(folder, 'diff.patch');
  await saveDiff(workspace, taken, file);
  git(top, 'apply', '--index', file);
  expect(git(top, 'write-tree')).toBe(taken.tree);
});

describe('revert', () => {
  test('brings back every file, mode, link and folder, and an untouched .git', async () => {
    const { spawn } = await prepareCells(folder => {
      const top = makeRepository(join(folder, 'source'), {
        ...FILES,
        'ignored/but-tracked': 't\n',
        'run.sh': '#!/bin/sh\n',
      });
      chmodSync(join(top, 'run.sh'), 0o755);
      symlinkSync('a.txt', join(top, 'link'));
      commitAll(top);
      return top;
    });
    const workspace = await spawn();
    const at = workspace.workspacePath;
    const before = { files: pictureOf(at), git: pictureOf(join(at, '.git'), ['index']) };
    writeFiles(at, { 'a.txt': 'A\n', 'new/x': 'x', 'ignored/y': 'y', 'z.log': 'z', '.git/hooks/pre-commit': 'evil' });
    makeRepository(join(at, 'nested'));
    commitAll(at);
    git(at, 'branch', 'planted');
    git(at, 'config', 'user.name', 'Somebody');
    mkdirSync(join(at, 'empty/folder'), { recursive: true });
    rmSync(join(at, 'link'));
    symlinkSync('/etc', join(at, 'link'));
    rmSync(join(at, 'sub'), { recursive: true });
    writeFileSync(join(at, 'sub'), 'file now');
    chmodSync(join(at, 'run.sh'), 0o600);
    chmodSync(at, 0o500);
    await snapshot(workspace);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect({ files: pictureOf(at), git: pictureOf(join(at, '.git'), ['index']) }).toEqual(before);
    expect(git(at, 'status', '--porcelain', '--ignored')).toBe('');
    expect((await snapshot(workspace)).changed).toBe(false);
  });

  test.each(['a file', 'a link', 'nothing'])('brings .git back when it was replaced by %s', async what => {
    const { spawn, folder } = await prepareCells(FILES);
    const workspace = await spawn();
    const dotGit = join(workspace.workspacePath, '.git');
    const other = makeRepository(join(folder, 'other'));
    rmSync(dotGit, { recursive: true });
    if (what === 'a file') writeFileSync(dotGit, `gitdir: ${other}/.git\n`);
    if (what === 'a link') symlinkSync(join(other, '.git'), dotGit);
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['a.txt']);
    const before = pictureOf(other, []);
    await revert(workspace);
    expect(git(workspace.workspacePath, 'status', '--porcelain')).toBe('');
    expect(pictureOf(other, [])).toEqual(before);
  });

  test('says so when the workspace cannot be put back', async () => {
    const { spawn, mirror } = await prepareCells(FILES);
    const workspace = await spawn();
    renameSync(mirror.objects, `${mirror.objects}.away`);
    await expect(revert(workspace)).rejects.toMatchObject({ code: 'REVERT_FAILED' });
  });
});

describe('a repository that stores other line endings than it asks for', () => {
  const stored = { 'crlf.txt': 'one\r\ntwo\r\n', 'id.c': '/* $Id: 1234 $ */\n', 'plain.md': 'x\n' };
  const make = (folder: string) => {
    const top = makeRepository(join(folder, 'source'), stored);
    writeFiles(top, { '.gitattributes': '*.txt text\n*.c ident\n*.md eol=crlf\n' });
    git(top, 'add', '.gitattributes');
    git(top, 'commit', '--quiet', '-m', 'attributes');
    return top;
  };

  test('has no change of its own, can be reverted, and an agent`s edit of another file commits only that', async () => {
    const { spawn, source } = await prepareCells(make);
    const workspace = await spawn();
    // A later time of the file makes git read it again, as it may do by chance.
    execFileSync('touch', ['-d', '+1 hour', ...Object.keys(stored).map(name => join(workspace.workspacePath, name))]);
    expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
    writeFiles(workspace.workspacePath, { 'new.txt': 'n\n' });
    expect((await commitNow(workspace, source)).filesModified).toEqual(['new.txt']);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect(readFileSync(join(workspace.workspacePath, 'plain.md'), 'utf8')).toBe('x\r\n');
  });

  test('still records an edit of such a file', async () => {
    const { spawn } = await prepareCells(make);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'crlf.txt': 'one\r\nthree\r\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['crlf.txt']);
  });
});

test('an abandoned pipe in a nested folder and a name of 250 bytes are no trouble', async () => {
  const { spawn } = await prepareCells(FILES);
  const workspace = await spawn();
  const long = 'x'.repeat(250);
  writeFiles(workspace.workspacePath, { [`deep/${long}`]: 'x' });
  makeRepository(join(workspace.workspacePath, 'nested'));
  execFileSync('mkfifo', [join(workspace.workspacePath, 'nested/pipe')]);
  const taken = await snapshot(workspace);
  expect(taken.filesModified).toEqual([`deep/${long}`, 'nested/a.txt']);
  expect(filesIn(workspace, taken.tree)).toContain('nested/a.txt');
});
