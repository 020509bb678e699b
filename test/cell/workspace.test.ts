import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { commit, revert, snapshot } from '../../src/cell/settle.ts';
import { makeWorkspace, removeWorkspace } from '../../src/cell/workspace.ts';
import {
  commitAll,
  git,
  makeRepository,
  pictureOf,
  prepareCells,
  refsOf,
  tempFolder,
  writeFiles,
} from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n', 'sub/b.txt': 'b\n', '.gitignore': 'ignored/\n' };

describe('a fresh workspace', () => {
  test('holds the files of the base, on a branch of its own, clean in the eyes of the agent', async () => {
    const { spawn, top } = await prepareCells(folder => {
      const made = makeRepository(join(folder, 'source'), FILES);
      chmodSync(join(made, 'a.txt'), 0o755);
      symlinkSync('sub/b.txt', join(made, 'link'));
      commitAll(made);
      return made;
    });
    const { workspacePath, baseCommit, baseTree } = await spawn();
    expect(pictureOf(workspacePath)).toEqual(pictureOf(top));
    expect(git(workspacePath, 'status', '--porcelain', '--branch')).toBe('## cellpool/fix-1');
    expect(git(workspacePath, 'rev-parse', 'HEAD', 'HEAD^{tree}')).toBe(`${baseCommit}\n${baseTree}`);
    expect(git(workspacePath, 'remote')).toBe('');
    expect(existsSync(join(workspacePath, '.git/hooks'))).toBe(false);
  });

  test('lets an agent commit, by the author it was given', async () => {
    const { mirror, spawn, folder } = await prepareCells(FILES);
    const { baseCommit } = await spawn();
    const author = { name: 'A "quoted" \\ name', email: 'a@b' };
    const made = await makeWorkspace({ mirror, commit: baseCommit, cellDir: join(folder, 'x'), branch: 'b', author });
    writeFiles(made.workspacePath, { 'a.txt': 'agent\n' });
    // The names that the test's own environment gives would win over the configured ones.
    const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent' };
    execFileSync('git', ['commit', '-qam', 'mine'], { cwd: made.workspacePath, env });
    expect(git(made.workspacePath, 'log', '-1', '--format=%an %ae')).toBe('A "quoted" \\ name a@b');
  });

  test('knows nothing of other branches, other cells or the source', async () => {
    const { spawn, top } = await prepareCells(FILES);
    git(top, 'config', 'user.secret', 'x');
    const [one] = [await spawn('one'), await spawn('two')];
    expect(refsOf(one.workspacePath).split(' ')[0]).toBe('refs/heads/cellpool/fix-1');
    expect(git(one.workspacePath, 'config', '--list')).not.toMatch(/secret|source/);
  });

  test('leaves nothing when it cannot be made', async () => {
    const { mirror, folder } = await prepareCells(FILES);
    const cellDir = join(folder, 'broken');
    const options = { mirror, commit: '1'.repeat(40), cellDir, branch: 'cellpool/x' };
    await expect(makeWorkspace(options)).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
    expect(readdirSync(cellDir)).toEqual([]);
  });
});

test('50 workspaces at once on one repository are all right, and the source does not notice them', async () => {
  const { spawn, top, source } = await prepareCells(FILES);
  writeFiles(top, { 'a.txt': 'edited, not committed\n', 'new.txt': 'n\n' });
  const before = { refs: refsOf(top), picture: pictureOf(top), index: readFileSync(join(top, '.git/index')) };
  const all = await Promise.all(Array.from({ length: 50 }, (_, n) => spawn(`cell-${n}`)));
  for (const { workspacePath } of all) expect(git(workspacePath, 'status', '--porcelain')).toBe('');
  expect(refsOf(top)).toBe(before.refs);
  expect(git(top, 'worktree', 'list').split('\n')).toHaveLength(1);

  await Promise.all(
    all.map(async (workspace, n) => {
      writeFiles(workspace.workspacePath, { [`made-${n}.txt`]: `${n}\n` });
      const taken = await snapshot(workspace);
      const author = { name: 'A', email: 'a@b' };
      const common = { source, expectedOld: null, message: 'm', author, trailers: {}, snapshot: taken };
      await commit(workspace, { ...common, branch: `cellpool/t-${n}`, taskId: `t-${n}` });
    }),
  );
  const branches = git(top, 'for-each-ref', '--format=%(refname:short)', 'refs/heads/cellpool').split('\n');
  expect(branches).toHaveLength(50);
  for (const branch of branches) {
    expect(git(top, 'diff', '--name-only', 'main', branch)).toBe(`${branch.replace('cellpool/t', 'made')}.txt`);
  }
  expect(pictureOf(top)).toEqual(before.picture);
  expect(readFileSync(join(top, '.git/index')).equals(before.index)).toBe(true);
  expect(git(top, 'fsck', '--strict', '--no-dangling')).toBe('');
}, 120_000);

describe('every kind of source serves: base out, work home', () => {
  const kinds: [string, (folder: string) => string][] = [
    ['a folder with spaces and unicode', folder => makeRepository(join(folder, 'my ré po "x"'), FILES)],
    ['a folder below the top', folder => join(makeRepository(join(folder, 'source'), FILES), 'sub')],
    [
      'a linked worktree',
      folder => {
        const top = makeRepository(join(folder, 'source'), FILES);
        git(top, 'worktree', 'add', '--quiet', '-b', 'side', join(folder, 'linked'));
        return join(folder, 'linked');
      },
    ],
    [
      'a bare repository',
      folder => {
        git(folder, 'clone', '--quiet', '--bare', makeRepository(join(folder, 'source'), FILES), 'bare.git');
        return join(folder, 'bare.git');
      },
    ],
    [
      'a shallow clone',
      folder => {
        const full = makeRepository(join(folder, 'full'), FILES);
        writeFiles(full, { 'a.txt': 'b' });
        commitAll(full);
        git(folder, 'clone', '--quiet', '--depth=1', `file://${full}`, 'shallow');
        return join(folder, 'shallow');
      },
    ],
    ['a SHA-256 repository', folder => makeRepository(join(folder, 'source'), FILES, '--object-format=sha256')],
    [
      'a repository whose own settings forbid or misdirect almost everything',
      folder => {
        const top = makeRepository(join(folder, 'source'), FILES);
        const settings = [
          ['core.hooksPath', join(folder, 'hooks')],
          ['core.autocrlf', 'true'],
          ['commit.gpgSign', 'true'],
          ['gpg.program', '/nonexistent'],
          ['fetch.prune', 'true'],
          ['fetch.pruneTags', 'true'],
          ['fetch.recurseSubmodules', 'true'],
          ['fetch.writeCommitGraph', 'true'],
          ['protocol.allow', 'never'],
          ['transfer.hideRefs', 'refs/heads'],
          ['user.useConfigOnly', 'true'],
        ];
        for (const [key, value] of settings) git(top, 'config', key ?? '', value ?? '');
        return top;
      },
    ],
  ];
  test.each(kinds)('%s', async (_name, make) => {
    const { spawn, source, top } = await prepareCells(make);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'sub/b.txt': 'agent\n' });
    const taken = await snapshot(workspace);
    const made = await commit(workspace, {
      source,
      branch: 'cellpool/fix-1',
      taskId: 'fix-1',
      expectedOld: null,
      message: 'Fix it',
      author: { name: 'A', email: 'a@b' },
      snapshot: taken,
      trailers: { Task: 'fix-1' },
    });
    expect(made.filesModified).toEqual(['sub/b.txt']);
    expect(git(top, 'rev-parse', 'cellpool/fix-1', 'cellpool/fix-1^')).toBe(`${made.commit}\n${workspace.baseCommit}`);
    expect(git(top, 'show', 'cellpool/fix-1:sub/b.txt')).toBe('agent');
    expect(git(top, 'fsck', '--strict', '--no-dangling')).toBe('');
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  });

  test('a shallow clone that was completed while the agent worked', async () => {
    const { spawn, source, top } = await prepareCells(folder => {
      const full = makeRepository(join(folder, 'full'), FILES);
      writeFiles(full, { 'a.txt': 'b' });
      commitAll(full);
      git(folder, 'clone', '--quiet', '--depth=1', `file://${full}`, 'shallow');
      return join(folder, 'shallow');
    });
    const workspace = await spawn();
    git(top, 'fetch', '--quiet', '--unshallow');
    writeFiles(workspace.workspacePath, { 'a.txt': 'agent\n' });
    const taken = await snapshot(workspace);
    const author = { name: 'A', email: 'a@b' };
    const common = { source, expectedOld: null, message: 'm', author, trailers: {}, snapshot: taken };
    await commit(workspace, { ...common, branch: 'cellpool/x', taskId: 'x' });
    expect(git(top, 'rev-list', '--count', 'cellpool/x')).toBe('3');
  });
});

describe('removing a workspace', () => {
  test('removes what an agent has locked, and may be done twice', async () => {
    const { spawn } = await prepareCells(FILES);
    const { workspacePath } = await spawn();
    writeFiles(workspacePath, { 'locked/deep/file': 'x' });
    chmodSync(join(workspacePath, 'locked/deep/file'), 0o000);
    chmodSync(join(workspacePath, 'locked/deep'), 0o000);
    chmodSync(join(workspacePath, 'locked'), 0o500);
    chmodSync(workspacePath, 0o000);
    await removeWorkspace(dirname(workspacePath));
    await removeWorkspace(dirname(workspacePath));
    expect(existsSync(dirname(workspacePath))).toBe(false);
  });

  test('never touches what a symbolic link points to', async () => {
    const { spawn, folder } = await prepareCells(FILES);
    const { workspacePath } = await spawn();
    writeFiles(folder, { 'outside/precious': 'p' });
    chmodSync(join(folder, 'outside'), 0o500);
    symlinkSync(join(folder, 'outside'), join(workspacePath, 'link'));
    rmSync(join(workspacePath, 'sub'), { recursive: true });
    symlinkSync(join(folder, 'outside'), join(workspacePath, 'sub'));
    await removeWorkspace(dirname(workspacePath));
    expect(readFileSync(join(folder, 'outside/precious'), 'utf8')).toBe('p');
    expect(lstatSync(join(folder, 'outside')).mode & 0o777).toBe(0o500);
    chmodSync(join(folder, 'outside'), 0o700);
  });

  test('removes folders nested so deep that no path leads to the bottom, as does revert', async () => {
    const { spawn } = await prepareCells(FILES);
    const workspace = await spawn();
    const program = `for (let n = 0; n < 50; n += 1) { fs.mkdirSync('d'.repeat(200)); process.chdir('d'.repeat(200)); }`;
    const dig = () => execFileSync(process.execPath, ['-e', program], { cwd: workspace.workspacePath });
    const before = pictureOf(workspace.workspacePath);
    dig();
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect(pictureOf(workspace.workspacePath)).toEqual(before);
    dig();
    await removeWorkspace(dirname(workspace.workspacePath));
    expect(existsSync(dirname(workspace.workspacePath))).toBe(false);
  });

  test('does not mind a pipe, and a folder that was never made', async () => {
    const folder = tempFolder();
    mkdirSync(join(folder, 'cell'));
    execFileSync('mkfifo', [join(folder, 'cell/pipe')]);
    writeFileSync(join(folder, 'cell/-rf'), '');
    await removeWorkspace(join(folder, 'cell'));
    await removeWorkspace(join(folder, 'never'));
    expect(readdirSync(folder)).toEqual([]);
  });
});
