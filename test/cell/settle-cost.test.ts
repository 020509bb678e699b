/** How often git is started to settle an ordinary attempt: each start costs more than what git then does. */
import { chmodSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { type CommitOptions, commit, markSetupDone, saveDiff, snapshot } from '../../src/cell/settle.ts';
import { noteCommands } from '../support/git-commands.ts';
import { git, prepareCells, refsOf, writeFiles } from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n', 'sub/b.txt': 'b\n' };

afterEach(() => vi.unstubAllEnvs());

async function prepare() {
  const cells = await prepareCells(FILES);
  const workspace = await cells.spawn();
  const options = async (more: Partial<CommitOptions> = {}): Promise<CommitOptions> => ({
    ...{ source: cells.source, branch: 'cellpool/fix-1', taskId: 'fix-1', expectedOld: null, message: 'Fix' },
    ...{ author: { name: 'A', email: 'a@b' }, trailers: {}, snapshot: await snapshot(workspace) },
    ...more,
  });
  return { ...cells, workspace, options };
}

test('a snapshot starts git three times, and once more for the first one of a base', async () => {
  const { folder, spawn, workspace } = await prepare();
  const noted = noteCommands(folder);
  const edit = { 'a.txt': 'A\n', 'sub/new.txt': 'n\n' };
  writeFiles(workspace.workspacePath, edit);
  const taken = await snapshot(workspace);
  const each = ['add', 'diff-index', 'write-tree'];
  expect(noted()).toEqual([...each, 'ls-tree'].sort());
  expect(await snapshot(workspace)).toEqual(taken);
  expect(noted()).toEqual(each);
  const next = await spawn('cell-2');
  writeFiles(next.workspacePath, edit);
  noted();
  expect(await snapshot(next)).toEqual(taken);
  expect(noted()).toEqual(each);
});

test('git is asked where repositories lie once there may be one', async () => {
  const { folder, workspace } = await prepare();
  git(workspace.workspacePath, 'init', '--quiet', 'sub/inner');
  writeFiles(workspace.workspacePath, { 'sub/inner/x.txt': 'x\n' });
  const noted = noteCommands(folder);
  expect((await snapshot(workspace)).filesModified).toEqual(['sub/inner/x.txt']);
  expect(noted()).toContain('ls-files');
});

test('setup makes the record ask once more what setup did, and nothing else', async () => {
  const { folder, workspace } = await prepare();
  writeFiles(workspace.workspacePath, { 'sub/b.txt': 'by setup\n' });
  await markSetupDone(workspace);
  writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
  await snapshot(workspace);
  const noted = noteCommands(folder);
  expect((await snapshot(workspace)).filesModified).toEqual(['a.txt']);
  const putBack = ['read-tree', 'update-index', 'write-tree', 'diff-tree'];
  expect(noted()).toEqual(['add', 'diff-index', 'write-tree', 'diff-tree', ...putBack].sort());
});

test('a commit on a new branch starts git seven times, and asks whether that is checked out before and after', async () => {
  const { folder, top, workspace, options } = await prepare();
  writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
  const ready = await options();
  const noted = noteCommands(folder);
  let before: string[] = [];
  const fence = async () => {
    before = noted();
  };
  const made = await commit(workspace, { ...ready, fence });
  expect(before).toEqual(['commit-tree', 'fetch', 'for-each-ref', 'worktree', 'worktree']);
  // Nothing comes between the fence and the moving of the branch; then the branch is looked at.
  expect(noted()).toEqual(['for-each-ref', 'update-ref']);
  expect(git(top, 'rev-parse', 'cellpool/fix-1')).toBe(made.commit);
  expect(git(workspace.recordDir, 'rev-parse', '--verify', 'refs/heads/finished')).toBe(made.commit);
});

test('what is done while the commit is made has ended before anything goes to the source', async () => {
  const { folder, top, workspace, options } = await prepare();
  writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
  const ready = await options();
  const objects = () => git(top, 'count-objects', '-v');
  const before = { refs: refsOf(top), objects: objects() };
  const noted = noteCommands(folder);
  const meanwhile = () => Promise.reject(new Error('the disk is full'));
  await expect(commit(workspace, { ...ready, meanwhile })).rejects.toThrow('the disk is full');
  expect(noted()).toEqual(['commit-tree', 'worktree']);
  expect({ refs: refsOf(top), objects: objects() }).toEqual(before);

  const patch = join(folder, 'changes.diff');
  let there = false;
  await commit(workspace, {
    ...ready,
    meanwhile: () => saveDiff(workspace, ready.snapshot, patch),
    fence: async () => {
      there = existsSync(patch);
    },
  });
  expect(there).toBe(true);
});

test('a branch that somebody checks out while the work comes home is not moved', async () => {
  const { top, folder, workspace, options } = await prepare();
  writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
  const first = await commit(workspace, await options());
  // As soon as the first answer was given, which is before anything is fetched.
  const bin = join(folder, 'late');
  const path = process.env.PATH ?? '';
  const script = `#!/bin/sh
PATH='${path}'
case " $* " in *' fetch '*) GIT_DIR='${top}/.git' git symbolic-ref HEAD refs/heads/cellpool/fix-1 ;; esac
exec git "$@"
`;
  writeFiles(bin, { git: script });
  chmodSync(join(bin, 'git'), 0o755);
  writeFiles(workspace.workspacePath, { 'a.txt': 'B\n' });
  const again = await options({ expectedOld: first.commit });
  vi.stubEnv('PATH', `${bin}:${path}`);
  const before = refsOf(top);
  await expect(commit(workspace, again)).rejects.toMatchObject({ code: 'BRANCH_CHECKED_OUT' });
  git(top, 'symbolic-ref', 'HEAD', 'refs/heads/main');
  git(top, 'update-ref', '-d', 'refs/heads/cellpool/fix-1');
  await expect(commit(workspace, { ...again, expectedOld: null })).rejects.toMatchObject({
    code: 'BRANCH_CHECKED_OUT',
  });
  expect(refsOf(top)).toBe(
    before
      .split('\n')
      .filter(line => !line.includes('cellpool/fix-1'))
      .join('\n'),
  );
});
