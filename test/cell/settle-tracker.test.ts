import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { commit, markSetupDone, revert, snapshot } from '../../src/cell/settle.ts';
import { recordOf, type Workspace } from '../../src/cell/workspace.ts';
import { stageAll, writeTree } from '../../src/git/record.ts';
import { isTrackers } from '../../src/git/tracker.ts';
import { git, makeRepository, prepareCells, writeFiles } from '../support/repository.ts';

const ISSUES = '.beads/issues.jsonl';
const DEEP = 'pkg/one/.beads/issues.jsonl';
const FILES = { 'a.txt': 'a\n', [ISSUES]: '{"id":"p-1"}\n', [DEEP]: '{"id":"q-1"}\n', 'pkg/one/code.js': 'c\n' };

/** What the snapshot's tree holds of trackers, with modes and ids. */
const trackersIn = (workspace: Workspace, tree: string) =>
  git(workspace.recordDir, 'ls-tree', '-r', '-z', tree)
    .split('\0')
    .filter(entry => isTrackers(entry.split('\t')[1] ?? ''));

async function spawned() {
  const cells = await prepareCells(FILES);
  return { ...cells, workspace: await cells.spawn() };
}

const VANDALS: [string, (at: string) => void][] = [
  ['edits it', at => writeFiles(at, { [ISSUES]: 'closed\n', [DEEP]: 'closed\n' })],
  ['adds to it', at => writeFiles(at, { '.beads/more.jsonl': 'm', 'pkg/one/.beads/dolt/x': 'x', 'new/.beads/y': 'y' })],
  ['deletes it', at => rmSync(join(at, '.beads'), { recursive: true })],
  ['makes it executable', at => chmodSync(join(at, ISSUES), 0o755)],
  ['puts a file in its place', at => put(at, () => writeFiles(at, { '.beads': 'a file' }))],
  ['puts a link in its place', at => put(at, () => symlinkSync('../elsewhere', join(at, '.beads')))],
  ['puts a repository in its place', at => put(at, () => makeRepository(join(at, '.beads'), { 'x.txt': 'x' }))],
  ['puts a pipe into it', at => execFileSync('mkfifo', [join(at, '.beads/pipe')])],
  ['puts a pipe in the place of its file', at => put(at, () => makePipe(at))],
  ['locks it', at => chmodSync(join(at, '.beads'), 0o000)],
  ['writes it in other letters', at => writeFiles(at, { '.BEADS/x': 'x', 'sub/.Beads/y': 'y', '.bead\u017f/z': 'z' })],
];

function put(at: string, other: () => void): void {
  rmSync(join(at, '.beads'), { recursive: true });
  other();
}

function makePipe(at: string): void {
  mkdirSync(join(at, '.beads'));
  execFileSync('mkfifo', [join(at, ISSUES)]);
}

describe('a tracker in the workspace is nobody’s work', () => {
  test.each(VANDALS)('when somebody %s', async (_how, vandal) => {
    const { workspace } = await spawned();
    vandal(workspace.workspacePath);
    expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n' });
    const taken = await snapshot(workspace);
    expect(taken.filesModified).toEqual(['a.txt']);
    expect(trackersIn(workspace, taken.tree)).toEqual(trackersIn(workspace, workspace.baseTree));
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  });

  test('and the commit that comes home has the base’s', async () => {
    const { workspace, source, top } = await spawned();
    writeFiles(workspace.workspacePath, { 'a.txt': 'A\n', [ISSUES]: 'closed\n', 'new/.beads/x': 'x' });
    const target = { source, branch: 'cellpool/fix-1', taskId: 'fix-1', expectedOld: null, trailers: {} };
    const author = { name: 'Cell Pool', email: 'pool@example.com' };
    const taken = await snapshot(workspace);
    const made = await commit(workspace, { ...target, message: 'Fix', author, snapshot: taken });
    expect(made.filesModified).toEqual(['a.txt']);
    expect(git(top, 'diff', '--name-only', 'main', made.commit)).toBe('a.txt');
  });

  test('what setup and hooks do to it is left out as well', async () => {
    const { workspace } = await spawned();
    writeFiles(workspace.workspacePath, { [ISSUES]: 'by setup\n', '.beads/dolt/x': 'x', 'made.txt': 'by setup\n' });
    await markSetupDone(workspace);
    writeFiles(workspace.workspacePath, { [ISSUES]: 'by a hook\n', 'made.txt': 'further\n' });
    const taken = await snapshot(workspace);
    expect(taken.filesModified).toEqual(['made.txt']);
    expect(trackersIn(workspace, taken.tree)).toEqual(trackersIn(workspace, workspace.baseTree));
  });

  test('a tracker within a repository within the workspace is left out, what stands beside it is not', async () => {
    const { workspace } = await spawned();
    makeRepository(join(workspace.workspacePath, 'inner'), { 'code.js': 'c\n', '.beads/issues.jsonl': 'i\n' });
    expect((await snapshot(workspace)).filesModified).toEqual(['inner/code.js']);
  });

  test('what is moved out of it is work, and it keeps its own', async () => {
    const { workspace } = await spawned();
    renameSync(join(workspace.workspacePath, ISSUES), join(workspace.workspacePath, 'issues.jsonl'));
    const taken = await snapshot(workspace);
    expect(taken.filesModified).toEqual(['issues.jsonl']);
    expect(trackersIn(workspace, taken.tree)).toEqual(trackersIn(workspace, workspace.baseTree));
  });

  test('a folder that goes with a tracker in it leaves the tracker behind', async () => {
    const { workspace } = await spawned();
    rmSync(join(workspace.workspacePath, 'pkg'), { recursive: true });
    expect((await snapshot(workspace)).filesModified).toEqual(['pkg/one/code.js']);
  });

  test('a file that takes the place of a folder with a tracker is refused by name, and reverted', async () => {
    const { workspace } = await spawned();
    rmSync(join(workspace.workspacePath, 'pkg'), { recursive: true });
    writeFiles(workspace.workspacePath, { pkg: 'a file now' });
    await expect(snapshot(workspace)).rejects.toMatchObject({
      code: 'COMMIT_FAILED',
      message: expect.stringContaining('"pkg"'),
    });
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
  });

  test('it stays in the workspace as it was left, for the tests to see', async () => {
    const { workspace } = await spawned();
    writeFiles(workspace.workspacePath, { '.beads/more.jsonl': 'm' });
    await snapshot(workspace);
    expect(existsSync(join(workspace.workspacePath, '.beads/more.jsonl'))).toBe(true);
  });

  test('a look at all there is, which a revert is verified by, sees it', async () => {
    const { workspace } = await spawned();
    writeFiles(workspace.workspacePath, { '.beads/more.jsonl': 'm' });
    const record = recordOf(workspace);
    await stageAll(record, 'all');
    expect(trackersIn(workspace, await writeTree(record)).join()).toContain('.beads/more.jsonl');
  });
});

test('any file in a folder .beads is of a tracker, and no other is', () => {
  const name = fc.stringMatching(/^[a-z.]{1,8}$/).filter(part => part !== '.beads');
  fc.assert(
    fc.property(fc.array(name), fc.array(name), (above, below) => {
      expect(isTrackers([...above, '.beads', ...below].join('/'))).toBe(true);
      expect(isTrackers([...above, ...below].join('/'))).toBe(false);
    }),
  );
  for (const path of ['.beads-old/x', 'my.beads/x', '.beadsx', 'beads/x', 'a/.bead/s'])
    expect(isTrackers(path)).toBe(false);
});
