/** Workspaces made before they are needed: like fresh ones in all that can be seen, used once, and nobody's burden. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Workspace } from '../../src/cell/workspace.ts';
import { openMirror, pinBase } from '../../src/git/mirror.ts';
import { openSource } from '../../src/git/source.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { abandonedIn, nameOfOwn } from '../../src/worker/owned-folders.ts';
import { Removals } from '../../src/worker/removals.ts';
import { SpareWorkspaces, type SpareWorkspacesOptions, savedBy } from '../../src/worker/spare-workspaces.ts';
import { BOUND } from '../support/bound.ts';
import { commitAll, git, makeRepository, pictureOf, prepareCells, writeFiles } from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n', 'sub/b.txt': 'b\n', '.gitignore': 'ignored/\n' };
const GIB = 1024 ** 3;
/** Times are the machine's own: what a test is not about is always worth it. */
const ALWAYS = Number.NEGATIVE_INFINITY;

async function setting(more: Partial<SpareWorkspacesOptions> = {}) {
  const { folder, top, source, mirror, spawn } = await prepareCells(FILES);
  const home = join(folder, 'home');
  const owner = await ownIdentity();
  const removals = new Removals({ home, owner, log: silentLogger });
  const options = { home, owner, removals, reserve: { diskMb: 1024 }, log: silentLogger, free: async () => 100 * GIB };
  const spares = new SpareWorkspaces({ ...options, savesMs: ALWAYS, ...more });
  onTestFinished(async () => {
    await spares.end();
    await removals.settled();
  });
  let count = 0;
  const get = async (base = 'main', of = { source, mirror }): Promise<Workspace> => {
    count += 1;
    const id = `fix-${count}.0000000${count}`;
    const commit = await pinBase(of.mirror, of.source, base, id);
    return spares.get({ mirror: of.mirror, commit, cellDir: join(home, 'cells', id), branch: `cellpool/fix-${count}` });
  };
  const namesIn = (name: string) => (existsSync(join(home, name)) ? readdirSync(join(home, name)) : []);
  const ready = (wanted: number) => vi.waitUntil(() => spares.ready === wanted, BOUND);
  return {
    ...{ folder, top, home, owner, mirror, spawn, spares, removals, get, ready },
    there: () => namesIn('spares'),
  };
}

describe('a spare workspace', () => {
  test('is like a fresh one, with its .git and all that git tells of it, and its folder is used up', async () => {
    const { get, ready, there, spawn, removals } = await setting();
    await get();
    await ready(1);
    const [kept] = there();
    const taken = await get();
    const fresh = await spawn('fresh', { branch: 'cellpool/fix-2' });
    // Of the index, which holds times, status tells whether it is right.
    const skip = ['.git/index'];
    expect(pictureOf(taken.workspacePath, skip)).toEqual(pictureOf(fresh.workspacePath, skip));
    expect(pictureOf(taken.recordDir, ['index'])).toEqual(pictureOf(fresh.recordDir, ['index']));
    expect({ ...taken, workspacePath: '', recordDir: '' }).toEqual({ ...fresh, workspacePath: '', recordDir: '' });
    expect(git(taken.workspacePath, 'status', '--porcelain', '--branch')).toBe('## cellpool/fix-2');
    expect(git(taken.workspacePath, 'diff-files')).toBe('');
    expect(git(taken.workspacePath, 'fsck', '--strict')).toBe('');
    await removals.settled();
    expect(there()).not.toContain(kept);
  });

  test('is brought to where the base is by now', async () => {
    const { get, ready, top, there } = await setting();
    await get();
    await ready(1);
    const [kept] = there();
    writeFiles(top, { 'a.txt': 'later\n', 'new.txt': 'new\n' });
    rmSync(join(top, 'sub'), { recursive: true });
    const tip = commitAll(top);
    const taken = await get();
    expect(pictureOf(taken.workspacePath)).toEqual(pictureOf(top));
    expect(taken).toMatchObject({ baseCommit: tip, baseTree: git(top, 'rev-parse', 'HEAD^{tree}') });
    expect(git(taken.workspacePath, 'log', '-1', '--format=%H %D')).toBe(`${tip} HEAD -> cellpool/fix-2`);
    expect(git(taken.workspacePath, 'status', '--porcelain')).toBe('');
    expect(there()).not.toContain(kept);
  });

  test('is not used where files that are the same in both commits are to lie there in another form', async () => {
    const { get, ready, top, there, removals } = await setting();
    await get();
    await ready(1);
    const [kept] = there();
    writeFiles(top, { '.gitattributes': '*.txt text eol=crlf\n' });
    commitAll(top);
    const made = await get();
    expect(pictureOf(made.workspacePath)['a.txt']).toBe(`644 ${Buffer.from('a\r\n').toString('base64')}`);
    await removals.settled();
    expect(there()).not.toContain(kept);
  });

  test('is given to one cell only, however many ask at once', async () => {
    const { get, ready, top } = await setting();
    await get();
    await ready(1);
    const all = await Promise.all(Array.from({ length: 6 }, () => get()));
    expect(new Set(all.map(({ workspacePath }) => workspacePath)).size).toBe(6);
    for (const { workspacePath, branch } of all) {
      expect(pictureOf(workspacePath)).toEqual(pictureOf(top));
      expect(git(workspacePath, 'status', '--porcelain', '--branch')).toBe(`## ${branch}`);
    }
  });

  test('that is damaged costs the cell nothing but the time', async () => {
    const { get, ready, home, there, top } = await setting();
    await get();
    await ready(1);
    rmSync(join(home, 'spares', there()[0] ?? '', 'record.git'), { recursive: true });
    const made = await get();
    expect(pictureOf(made.workspacePath)).toEqual(pictureOf(top));
    expect(git(made.workspacePath, 'status', '--porcelain')).toBe('');
  });

  test('is none for another author, whose name would not stand in it, and none is made for that', async () => {
    const { spares, mirror, home, spawn, there } = await setting();
    const { baseCommit: commit } = await spawn();
    const author = { name: 'Somebody', email: 's@example.com' };
    const made = await spares.get({ mirror, commit, cellDir: join(home, 'cells', 'x'), branch: 'x', author });
    expect(git(made.workspacePath, 'config', 'user.name')).toBe('Somebody');
    await spares.end();
    expect(there()).toEqual([]);
  });
});

describe('how many', () => {
  test('two of a repository wait at most, and only of the four that were asked for last', async () => {
    const { get, ready, spares, folder, there, removals } = await setting();
    for (let at = 0; at < 4; at += 1) await get();
    await ready(2);
    const first = there();
    for (let at = 1; at <= 4; at += 1) {
      const source = await openSource(makeRepository(join(folder, `other-${at}`), { 'x.txt': `${at}\n` }));
      const mirror = await openMirror(join(folder, 'home'), source);
      await get('main', { source, mirror });
      await vi.waitUntil(() => there().some(name => !first.includes(name)), BOUND);
    }
    await ready(4);
    await removals.settled();
    expect(there().filter(name => first.includes(name))).toEqual([]);
    expect(spares.ready).toBe(there().length);
  });

  test('none where they save too little, by what each way took here', async () => {
    const { get, spares, there } = await setting({ savesMs: Number.POSITIVE_INFINITY });
    await get();
    await get();
    await spares.end();
    expect(there()).toEqual([]);
  });

  test('what they save is told by the middle of the times, so that no single one decides', () => {
    expect(savedBy([10], [])).toBe(10);
    expect(savedBy([900, 10, 11], [2, 500, 3])).toBe(8);
    const times = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(times, times, (made, taken) => {
        const saved = savedBy(made, taken);
        expect(saved).toBe(savedBy([...made].reverse(), [...taken].reverse()));
        expect(saved).toBeLessThanOrEqual(Math.max(...made) - Math.min(...taken));
        expect(saved).toBeGreaterThanOrEqual(Math.min(...made) - Math.max(...taken));
      }),
    );
  });

  test('none are made without twice the reserve of disk, and those that are there go when it is short', async () => {
    let bytes = 2 * GIB - 1;
    const { get, ready, spares, there, removals } = await setting({ free: async () => bytes });
    await get();
    await spares.look();
    expect(there()).toEqual([]);
    bytes = 2 * GIB;
    await get();
    await ready(1);
    await spares.look();
    expect(spares.ready).toBe(1);
    bytes -= 1;
    await spares.look();
    await removals.settled();
    expect([spares.ready, there()]).toEqual([0, []]);
  });
});

describe('the end', () => {
  test('leaves none, also of one that was just being made, and cells get theirs as before', async () => {
    const { get, ready, spares, there, removals, top } = await setting();
    await get();
    await ready(1);
    await Promise.all([get(), spares.end()]);
    const { workspacePath } = await get();
    await vi.waitUntil(() => there().length === 0, BOUND);
    await removals.settled();
    expect([spares.ready, there()]).toEqual([0, []]);
    expect(pictureOf(workspacePath)).toEqual(pictureOf(top));
    await spares.end();
  });

  test('of a worker that dies leaves them to a reaper, which takes them from nobody who lives', async () => {
    const { get, ready, home, owner, there, removals } = await setting();
    await get();
    await ready(1);
    expect(await abandonedIn(home, owner)).toEqual([]);
    const [kept = ''] = there();
    const heir = { ...owner, pid: 2 ** 29 };
    expect(nameOfOwn(owner, kept.slice(-'spare.0123abcd'.length))).toBe(kept);
    const left = `spares/${nameOfOwn(heir, 'spare.0123abcd')}`;
    mkdirSync(join(home, left, 'workspace'), { recursive: true });
    expect(await abandonedIn(home, owner)).toEqual([left]);
    expect(await removals.adopt(left)).toBe('adopted');
    await removals.settled();
    expect(there()).toEqual([kept]);
  });
});
