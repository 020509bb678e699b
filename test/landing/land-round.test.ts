/** Rounds on real repositories: real merges, real tests in a checkout, a target that really moves. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openRemote, refresh } from '../../src/git/remote-cache.ts';
import { openSource, type Source } from '../../src/git/source.ts';
import { landRound, type Round } from '../../src/landing/land-round.ts';
import type { Candidate } from '../../src/landing/try-batch.ts';
import { commitAll, git, makeRepository, pictureOf, refsOf, tempFolder, writeFiles } from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n', 'test.sh': 'set -e\nfor f in checks/*; do [ -e "$f" ] || continue; sh "$f"; done\n' };
const author = { name: 'Pool', email: 'pool@example.com' };

let folder: string;
let top: string;
let source: Source;
beforeEach(async () => {
  folder = tempFolder('landing');
  top = makeRepository(join(folder, 'source'), FILES);
  git(top, 'switch', '--quiet', '--detach');
  source = await openSource(top);
});

/** A finished branch on top of `base`; the working copy is left on no branch. */
function branch(taskId: string, files: Record<string, string>, base = 'main'): Candidate {
  git(top, 'switch', '--quiet', '--detach', base);
  writeFiles(top, files);
  const commit = commitAll(top, taskId);
  git(top, 'branch', `cellpool/${taskId}`, commit);
  return { taskId, commit };
}

/** The tests of a commit, in a checkout of its own. */
async function judge(commit: string, gitDir: string) {
  const work = mkdtempSync(join(folder, 'work-'));
  try {
    git(gitDir, `--work-tree=${work}`, 'read-tree', '-u', '--reset', commit);
    execFileSync('sh', ['test.sh'], { cwd: work, stdio: 'pipe' });
    return { passed: true, tail: '' };
  } catch (error) {
    return { passed: false, tail: String((error as { stderr?: Buffer }).stderr ?? error) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const land = (candidates: Candidate[], more: Partial<Round> = {}) =>
  landRound({
    source,
    destination: source,
    target: 'main',
    candidates,
    folder: join(folder, 'round'),
    author,
    judge,
    ...more,
  });

const firstParents = () => git(top, 'log', '--first-parent', '--format=%s', 'main').split('\n');

describe('a round', () => {
  test('lands a batch as one merge, whose first parent is the old tip and which has every branch', async () => {
    const tip = git(top, 'rev-parse', 'main');
    const all = [branch('a', { 'a1.txt': '1\n' }), branch('b', { 'b1.txt': '1\n' }), branch('c', { 'c1.txt': '1\n' })];
    const { landed, fates } = await land(all);
    expect([...fates.values()].map(({ kind }) => kind)).toEqual(['lands', 'lands', 'lands']);
    expect(git(top, 'rev-parse', 'main')).toBe(landed);
    expect(git(top, 'log', '-1', '--format=%P', 'main')).toBe([tip, ...all.map(({ commit }) => commit)].join(' '));
    expect(git(top, 'log', '-1', '--format=%an %ae %B', 'main')).toBe(
      'Pool pool@example.com Land a, b, c\n\nLanded: a, b, c\n',
    );
    expect(git(top, 'ls-tree', '--name-only', 'main').split('\n')).toEqual([
      'a.txt',
      'a1.txt',
      'b1.txt',
      'c1.txt',
      'test.sh',
    ]);
    expect(git(top, 'fsck', '--strict')).toBe('');
    expect(existsSync(join(folder, 'round'))).toBe(false);
  });

  test('refuses the one that is red with the others, keeps its branch, and lands the rest in the next round', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    const bad = branch('bad', { 'checks/no-two.sh': '[ ! -e two.txt ]\n[ ! -e one.txt ]\n' });
    const two = branch('two', { 'two.txt': '2\n' });
    const first = await land([one, bad, two]);
    expect(first.fates.get('bad')).toMatchObject({ kind: 'red' });
    expect(first.fates.get('two')).toEqual({ kind: 'later' });
    const second = await land([two]);
    expect(second.fates.get('two')).toEqual({ kind: 'lands' });
    expect(firstParents()).toEqual(['Land two', 'Land one', 'first']);
    expect(refsOf(top)).toContain(`refs/heads/cellpool/bad ${bad.commit}`);
  });

  test('names the paths of one that contradicts the target', async () => {
    const one = branch('one', { 'a.txt': 'one\n', 'sub/x y.txt': '1\n' });
    const other = branch('other', { 'a.txt': 'other\n', 'sub/x y.txt': '2\n' });
    await land([one]);
    const { fates, landed, runs } = await land([other]);
    expect(fates.get('other')).toEqual({ kind: 'conflict', paths: ['a.txt', 'sub/x y.txt'] });
    expect([landed, runs]).toEqual([null, 0]);
  });

  test('knows what the target has already, so that nothing lands twice after a crash', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    const { landed } = await land([one]);
    const again = await land([one]);
    expect(again).toMatchObject({ before: new Map([['one', landed]]), landed: null, tip: landed });
    expect(git(top, 'rev-parse', 'main')).toBe(landed);
  });

  test('tells by which commit the target has what it has already, whatever came onto it since and by whichever way', async () => {
    const base = git(top, 'rev-parse', 'main');
    const [one, two] = [branch('one', { 'one.txt': '1\n' }), branch('two', { 'two.txt': '2\n' })];
    const { landed } = await land([one, two]);
    // Somebody goes on from a finished branch and merges that.
    const built = branch('built-on', { 'built.txt': '1\n' });
    git(top, 'commit', '--quiet', '--allow-empty', '-m', 'more');
    const onTop = git(top, 'rev-parse', 'HEAD');
    git(top, 'switch', '--quiet', 'main');
    git(top, 'merge', '--quiet', '--no-ff', '-m', 'by hand', onTop);
    const byHand = git(top, 'rev-parse', 'main');
    // And puts another one onto the target as it is.
    const plain = branch('plain', { 'plain.txt': '1\n' }, 'main');
    git(top, 'branch', '--force', 'main', plain.commit);
    const { landed: last } = await land([branch('last', { 'last.txt': '1\n' })]);
    const all = [one, two, built, plain, { taskId: 'base', commit: base }, { taskId: 'tip', commit: last ?? '' }];
    const { before } = await land(all);
    expect([...before]).toEqual([
      ['one', landed],
      ['two', landed],
      ['built-on', byHand],
      ['plain', plain.commit],
      ['base', base],
      ['tip', last],
    ]);
  });

  test('touches no working copy: a target on which somebody works stays, and so do their edits', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    git(top, 'switch', '--quiet', 'main');
    writeFiles(top, { 'a.txt': 'edited\n' });
    const before = { files: pictureOf(top), refs: refsOf(top) };
    await expect(land([one])).rejects.toMatchObject({
      code: 'BRANCH_CHECKED_OUT',
      hint: expect.stringMatching(/Switch/),
    });
    expect({ files: pictureOf(top), refs: refsOf(top) }).toEqual(before);
    expect(existsSync(join(folder, 'round'))).toBe(false);
  });

  test('leaves a target alone that somebody is rebasing, so that the rebase can be ended', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    git(top, 'switch', '--quiet', 'main');
    writeFiles(top, { 'a.txt': 'theirs\n' });
    const theirs = commitAll(top, 'theirs');
    git(top, 'switch', '--quiet', '-c', 'beside', 'main~1');
    writeFiles(top, { 'a.txt': 'beside\n' });
    commitAll(top, 'beside');
    expect(() => git(top, 'rebase', 'beside', 'main')).toThrow(/CONFLICT|conflict/);
    await expect(land([one])).rejects.toMatchObject({
      code: 'BRANCH_CHECKED_OUT',
      hint: expect.stringContaining('rebase'),
    });
    expect(git(top, 'rev-parse', 'main')).toBe(theirs);
    writeFiles(top, { 'a.txt': 'both\n' });
    git(top, 'add', 'a.txt');
    git(top, '-c', 'core.editor=true', 'rebase', '--continue');
    git(top, 'switch', '--quiet', '--detach');
    await land([one]);
    expect(firstParents()).toEqual(['Land one', 'theirs', 'beside', 'first']);
  });

  test('moves nothing when the target was moved meanwhile, or the fence refuses', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    const moved = branch('by-hand', { 'hand.txt': 'x\n' }).commit;
    const whileTesting: Round['judge'] = async (commit, gitDir) => {
      git(top, 'update-ref', 'refs/heads/main', moved);
      return judge(commit, gitDir);
    };
    await expect(land([one], { judge: whileTesting })).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
    expect(git(top, 'rev-parse', 'main')).toBe(moved);
    const fence = async () => {
      throw new Error('another lander has the lease');
    };
    await expect(land([one], { fence })).rejects.toThrow('another lander has the lease');
    expect(git(top, 'rev-parse', 'main')).toBe(moved);
    await expect(land([one], { target: 'nowhere' })).rejects.toMatchObject({ code: 'UNKNOWN_BASE' });
    expect((await land([one])).fates.get('one')).toEqual({ kind: 'lands' });
    expect(firstParents()).toEqual(['Land one', 'by-hand', 'first']);
  });
});

describe('a round onto a remote', () => {
  let bare: string;
  let destination: Source;
  const inCache = () => git(destination.gitDir, 'for-each-ref', '--format=%(refname)');
  beforeEach(async () => {
    bare = join(folder, 'app.git');
    git(folder, 'clone', '--quiet', '--bare', '--template=', top, bare);
    destination = await openRemote(join(folder, 'home'), `file://${bare}`);
    await refresh(destination);
  });

  test('keeps nothing of what a rule of the server refuses, and says that what waits is tried again', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    git(bare, 'config', 'receive.hideRefs', 'refs/heads/main');
    for (let times = 1; times <= 2; times++) {
      const error = await land([one], { destination }).catch(thrown => thrown);
      expect(error).toMatchObject({ code: 'PUSH_REFUSED', hint: expect.stringContaining('what waits is tried again') });
      expect(`${error.message} ${error.hint}`).not.toMatch(/retry|is kept/);
      expect(inCache()).toBe('refs/heads/main');
    }
    git(bare, 'config', '--unset', 'receive.hideRefs');
    const { landed } = await land([one], { destination });
    expect(git(bare, 'rev-parse', 'main')).toBe(landed);
    expect(inCache()).toBe('refs/heads/main');
  });

  test('keeps nothing of what came too late either, nor of what the fence refuses or what dies on its way there', async () => {
    const one = branch('one', { 'one.txt': '1\n' });
    const moved = branch('by-hand', { 'hand.txt': 'x\n' }).commit;
    const whileTesting: Round['judge'] = async (commit, gitDir) => {
      git(top, 'push', '--quiet', bare, `${moved}:refs/heads/main`);
      return judge(commit, gitDir);
    };
    const late = await land([one], { destination, judge: whileTesting }).catch(thrown => thrown);
    expect(late).toMatchObject({ code: 'BRANCH_TAKEN', hint: expect.stringContaining('tried again from there') });
    expect(`${late.message} ${late.hint}`).not.toMatch(/retry|is kept/);
    await refresh(destination);
    // At this moment a lander that is killed leaves what is there.
    const fence = async () => {
      throw new Error(`another lander has the lease, and here is ${inCache()}`);
    };
    await expect(land([one], { destination, fence })).rejects.toThrow('here is refs/heads/main');
    expect(inCache()).toBe('refs/heads/main');
    expect(git(bare, 'rev-parse', 'main')).toBe(moved);
  });
});
