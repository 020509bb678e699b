/** Workspaces made before they are needed: like fresh ones in all that can be seen, used once, and nobody's burden. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
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
import { SpareWorkspaces, type SpareWorkspacesOptions } from '../../src/worker/spare-workspaces.ts';
import { savedBy, WayTimes } from '../../src/worker/way-times.ts';
import { BOUND } from '../support/bound.ts';
import { commitAll, git, makeRepository, pictureOf, prepareCells, writeFiles } from '../support/repository.ts';

const FILES = { 'a.txt': 'a\n', 'sub/b.txt': 'b\n', '.gitignore': 'ignored/\n' };
const GIB = 1024 ** 3;
const inodeIn = (workspacePath: string) => statSync(join(workspacePath, 'a.txt')).ino;
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
    const cellDir = join(home, 'cells', id);
    mkdirSync(cellDir, { recursive: true });
    return spares.get({ mirror: of.mirror, commit, cellDir, branch: `cellpool/fix-${count}` });
  };
  /** Of a file of the spares that wait: what is handed over keeps it. */
  const inodes = () => namesIn('spares').map(name => inodeIn(join(home, 'spares', name, 'workspace')));
  const namesIn = (name: string) => (existsSync(join(home, name)) ? readdirSync(join(home, name)) : []);
  const ready = (wanted: number) => vi.waitUntil(() => spares.ready === wanted, BOUND);
  return {
    ...{ folder, top, home, owner, mirror, spawn, spares, removals, get, ready, inodes },
    there: () => namesIn('spares'),
  };
}

describe('a spare workspace', () => {
  test('is like a fresh one, with its .git and all that git tells of it, and its folder is used up', async () => {
    const { get, ready, there, spawn, removals, inodes } = await setting();
    await get();
    await get();
    await ready(1);
    const [[kept], [inode]] = [there(), inodes()];
    const taken = await get();
    expect(inodeIn(taken.workspacePath)).toBe(inode);
    const fresh = await spawn('fresh', { branch: 'cellpool/fix-3' });
    // Of the index, which holds times, status tells whether it is right.
    const skip = ['.git/index'];
    expect(pictureOf(taken.workspacePath, skip)).toEqual(pictureOf(fresh.workspacePath, skip));
    expect(pictureOf(taken.recordDir, ['index'])).toEqual(pictureOf(fresh.recordDir, ['index']));
    expect({ ...taken, workspacePath: '', recordDir: '' }).toEqual({ ...fresh, workspacePath: '', recordDir: '' });
    expect(git(taken.workspacePath, 'status', '--porcelain', '--branch')).toBe('## cellpool/fix-3');
    expect(git(taken.workspacePath, 'diff-files')).toBe('');
    expect(git(taken.workspacePath, 'fsck', '--strict')).toBe('');
    await removals.settled();
    expect(there()).not.toContain(kept);
  });

  test('is brought to where the base is by now', async () => {
    const { get, ready, top, there, inodes } = await setting();
    await get();
    await get();
    await ready(1);
    const [[kept], [inode]] = [there(), inodes()];
    writeFiles(top, { 'new.txt': 'new\n', '.gitignore': 'later/\n' });
    rmSync(join(top, 'sub'), { recursive: true });
    const tip = commitAll(top);
    const taken = await get();
    expect(inodeIn(taken.workspacePath)).toBe(inode);
    expect(pictureOf(taken.workspacePath)).toEqual(pictureOf(top));
    expect(taken).toMatchObject({ baseCommit: tip, baseTree: git(top, 'rev-parse', 'HEAD^{tree}') });
    expect(git(taken.workspacePath, 'log', '-1', '--format=%H %D')).toBe(`${tip} HEAD -> cellpool/fix-3`);
    expect(git(taken.workspacePath, 'status', '--porcelain')).toBe('');
    expect(there()).not.toContain(kept);
  });

  test('is not used where files that are the same in both commits are to lie there in another form', async () => {
    const { get, ready, top, there, removals } = await setting();
    await get();
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
    const { get, ready, top, inodes } = await setting();
    await get();
    await get();
    await ready(1);
    const [inode] = inodes();
    const all = await Promise.all(Array.from({ length: 6 }, () => get()));
    expect(new Set(all.map(({ workspacePath }) => workspacePath)).size).toBe(6);
    expect(all.filter(({ workspacePath }) => inodeIn(workspacePath) === inode)).toHaveLength(1);
    for (const { workspacePath, branch } of all) {
      expect(pictureOf(workspacePath)).toEqual(pictureOf(top));
      expect(git(workspacePath, 'status', '--porcelain', '--branch')).toBe(`## ${branch}`);
    }
  });

  test('that is damaged costs the cell nothing but the time', async () => {
    const { get, ready, home, there, top } = await setting();
    await get();
    await get();
    await ready(1);
    rmSync(join(home, 'spares', there()[0] ?? '', 'record.git'), { recursive: true });
    const made = await get();
    expect(pictureOf(made.workspacePath)).toEqual(pictureOf(top));
    expect(git(made.workspacePath, 'status', '--porcelain')).toBe('');
    expect(git(made.workspacePath, 'log', '-1', '--format=%D')).toBe('HEAD -> cellpool/fix-3');
  });

  test('is none of a repository whose history is cut off, also when it was cut off after the spare was made', async () => {
    const { get, ready, mirror, inodes, spares } = await setting();
    await get();
    await get();
    await ready(1);
    const [inode] = inodes();
    writeFiles(mirror.path, { shallow: `${'0'.repeat(40)}\n` });
    const made = await get();
    expect(inodeIn(made.workspacePath)).not.toBe(inode);
    expect(readFileSync(join(made.recordDir, 'shallow'), 'utf8')).toContain('0000');
    await spares.settled();
    expect(spares.ready).toBe(0);
  });

  test('is none for another author, whose name would not stand in it, and none is made for that', async () => {
    const { spares, mirror, home, spawn, there } = await setting();
    const { baseCommit: commit } = await spawn();
    const author = { name: 'Somebody', email: 's@example.com' };
    const made = await spares.get({ mirror, commit, cellDir: join(home, 'cells', 'x'), branch: 'x', author });
    expect(git(made.workspacePath, 'config', 'user.name')).toBe('Somebody');
    await spares.settled();
    expect(there()).toEqual([]);
  });
});

describe('how many', () => {
  test('none for who asks once', async () => {
    const { get, spares, there } = await setting();
    await get();
    await spares.settled();
    expect([spares.ready, there()]).toEqual([0, []]);
  });

  test('two of a repository wait at most, and only of the four that were asked for last', async () => {
    const { get, ready, spares, folder, there, removals } = await setting();
    // At once, so that none of them finds one that was made for the one before.
    await Promise.all(Array.from({ length: 4 }, () => get()));
    await ready(2);
    await spares.settled();
    const first = there();
    for (let at = 1; at <= 4; at += 1) {
      const source = await openSource(makeRepository(join(folder, `other-${at}`), { 'x.txt': `${at}\n` }));
      const mirror = await openMirror(join(folder, 'home'), source);
      await Promise.all(Array.from({ length: 3 }, () => get('main', { source, mirror })));
      await spares.settled();
    }
    expect(spares.ready).toBe(8);
    await removals.settled();
    expect(there().filter(name => first.includes(name))).toEqual([]);
    expect(spares.ready).toBe(there().length);
  });

  test('none where they save too little, by what each way took here', async () => {
    const { get, spares, there } = await setting({ savesMs: Number.POSITIVE_INFINITY });
    for (let at = 0; at < 3; at += 1) await get();
    await spares.settled();
    expect([spares.ready, there()]).toEqual([0, []]);
  });

  test('a way that failed counts as one that takes for ever, and is tried anew later', async () => {
    const times = new WayTimes();
    await times.make(async () => new Promise(done => setTimeout(done, 20)));
    expect(times.saved).toBeGreaterThan(0);
    await expect(times.take(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(times.saved).toBe(Number.NEGATIVE_INFINITY);
    times.forgetOne();
    expect(times.saved).toBeGreaterThan(0);
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
    await get();
    await spares.settled();
    expect(there()).toEqual([]);
    bytes = 2 * GIB;
    await get();
    await ready(1);
    await spares.look();
    expect(spares.ready).toBe(1);
    bytes -= 1;
    await spares.look();
    expect(spares.ready).toBe(0);
    await vi.waitUntil(() => there().length === 0, BOUND);
    await removals.settled();
  });

  test('none is made that would itself take the room that is to stay free', async () => {
    // Each look finds half a GiB less: so much a workspace seems to take.
    let bytes = 4.5 * GIB;
    const { get, spares } = await setting({
      free: async () => {
        bytes -= GIB / 2;
        return bytes;
      },
    });
    await get();
    await get();
    await spares.settled();
    expect([spares.ready, bytes]).toEqual([0, 2 * GIB]);
  });

  test('those that wait are touched now and then, so that nobody takes them for left', async () => {
    const { get, ready, spares, home, there } = await setting();
    await get();
    await get();
    await ready(1);
    const folder = join(home, 'spares', there()[0] ?? '');
    utimesSync(folder, 1, 1);
    await spares.look();
    expect(statSync(folder).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
  });
});

describe('the end', () => {
  test('leaves none, also of one that was just being made, and cells get theirs as before', async () => {
    const { get, ready, spares, there, removals, top } = await setting();
    await get();
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
