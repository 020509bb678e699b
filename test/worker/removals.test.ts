/** Folders of ended cells are out of the way at once, and gone in the end, whatever fails. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { beforeEach, expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/observe/logger.ts';
import { ownIdentity, type ProcessIdentity } from '../../src/os/identity.ts';
import { removeTree } from '../../src/os/remove-tree.ts';
import { nameOfOwn } from '../../src/worker/owned-folders.ts';
import { Removals, type RemovalsOptions } from '../../src/worker/removals.ts';
import { BOUND } from '../support/bound.ts';
import { tempFolder } from '../support/repository.ts';

let home: string;
let owner: ProcessIdentity;
beforeEach(async () => {
  home = tempFolder('removals');
  owner = await ownIdentity();
});

const idOf = (at: number) => String(at).padStart(8, '0');
const discarded = () => join(home, 'discarded');
const namesIn = (folder: string) => (existsSync(folder) ? readdirSync(folder).sort() : []);
const removalsWith = (more: Partial<RemovalsOptions> = {}) => new Removals({ home, owner, log: silentLogger, ...more });

function cell(id: string): string {
  const folder = join(home, 'cells', id);
  mkdirSync(join(folder, 'workspace'), { recursive: true });
  writeFileSync(join(folder, 'workspace', 'file'), id);
  return folder;
}

/** Removals that do not begin to delete before `open` is called. */
function heldBack() {
  let open: () => void = () => undefined;
  const gate = new Promise<void>(resolve => {
    open = resolve;
  });
  const begun: string[] = [];
  const remove = async (folder: string) => {
    begun.push(folder);
    await gate;
    await removeTree(folder);
  };
  return { removals: removalsWith({ remove }), open, begun };
}

test('a folder is out of its place before it is removed, and is counted until it is', async () => {
  const { removals, open } = heldBack();
  const folder = cell('a.00000001');
  await removals.take(folder);
  expect(existsSync(folder)).toBe(false);
  expect(removals.waiting).toBe(1);
  expect(readdirSync(discarded())).toEqual([nameOfOwn(owner, 'a.00000001')]);
  open();
  await removals.settled();
  expect(removals.waiting).toBe(0);
  expect(readdirSync(discarded())).toEqual([]);
});

test('two are removed at once, and of sixty that come at once fifty wait; the others are removed in their place', async () => {
  const { removals, open, begun } = heldBack();
  const folders = Array.from({ length: 60 }, (_, at) => cell(`a.${idOf(at)}`));
  let most = 0;
  const taken = folders.map(folder => {
    const over = removals.take(folder);
    most = Math.max(most, removals.waiting);
    return over;
  });
  expect(most).toBe(50);
  await Promise.all(taken.slice(0, 50));
  // Long enough for one that is not held back to be removed.
  await sleep(100);
  expect(removals.waiting).toBe(50);
  expect(begun.filter(folder => folder.startsWith(discarded()))).toHaveLength(2);
  expect(begun.filter(folder => !folder.startsWith(discarded())).sort()).toEqual(folders.slice(50).sort());
  expect(namesIn(join(home, 'cells'))).toHaveLength(10);
  open();
  await Promise.all(taken);
  await removals.settled();
  expect([...namesIn(discarded()), ...namesIn(join(home, 'cells'))]).toEqual([]);
});

test('a folder that is not there is no fault, and one that cannot be moved is removed where it is', async () => {
  // Nothing can be put below a file.
  writeFileSync(discarded(), '');
  const removals = removalsWith();
  await removals.take(join(home, 'cells', 'never.00000001'));
  const folder = cell('a.00000001');
  await removals.take(folder);
  expect(existsSync(folder)).toBe(false);
  expect(removals.waiting).toBe(0);
  expect(await removals.abandoned()).toEqual([]);
});

test('one that can be removed neither here nor there fails the one who wants it gone', async () => {
  writeFileSync(discarded(), '');
  const removals = removalsWith({ remove: () => Promise.reject(new Error('the disk is on fire')) });
  await expect(removals.take(cell('a.00000001'))).rejects.toThrow('the disk is on fire');
});

test('a removal that fails is told once, and gets a name that reapers take over while this process lives', async () => {
  const told: unknown[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => void told.push(JSON.parse(line)) });
  let burns = true;
  const remove = async (folder: string) => {
    if (burns) throw new Error('the disk is on fire');
    await removeTree(folder);
  };
  const removals = removalsWith({ log, remove });
  await removals.take(cell('a.00000001'));
  await removals.settled();
  expect(await removals.abandoned()).toEqual(['discarded/left-a.00000001']);
  expect(await removals.adopt('discarded/left-a.00000001')).toBe('again');
  await removals.settled();
  expect(told).toHaveLength(1);
  expect(told).toMatchObject([{ cell: 'a.00000001', problem: 'the disk is on fire' }]);
  expect([...removals.faults]).toEqual([['a.00000001', 'the disk is on fire']]);
  expect(readdirSync(discarded())).toEqual(['left-a.00000001']);
  burns = false;
  expect(await removals.adopt('discarded/left-a.00000001')).toBe('again');
  await removals.settled();
  expect(removals.faults.size).toBe(0);
  expect(readdirSync(discarded())).toEqual([]);
});

test('a removal that does not end is given up, and the next one begins', async () => {
  const removed: string[] = [];
  const remove = (folder: string) =>
    /hangs\.\d+$/.test(folder)
      ? new Promise<void>(() => undefined)
      : removeTree(folder).then(() => void removed.push(folder));
  const removals = removalsWith({ remove, limitMs: 2_000 });
  for (const id of ['hangs.00000001', 'hangs.00000002', 'a.00000001']) await removals.take(cell(id));
  await removals.settled();
  expect(removed).toHaveLength(1);
  expect([...removals.faults.keys()].sort()).toEqual(['hangs.00000001', 'hangs.00000002']);
  expect(namesIn(discarded())).toEqual(['left-hangs.00000001', 'left-hangs.00000002']);
});

test('what others have left is taken over, but leaves room for what ends here', async () => {
  const { removals, open } = heldBack();
  const names = Array.from({ length: 30 }, (_, at) => `left-b.${idOf(at)}`);
  for (const name of names) mkdirSync(join(discarded(), name), { recursive: true });
  const answers: string[] = [];
  for (const name of names) answers.push(await removals.adopt(`discarded/${name}`));
  expect(answers).toEqual([...Array(25).fill('adopted'), ...Array(5).fill('later')]);
  expect(await removals.abandoned()).toEqual(expect.arrayContaining(names.slice(25).map(name => `discarded/${name}`)));
  const folder = cell('a.00000001');
  await removals.take(folder);
  expect(existsSync(folder)).toBe(false);
  open();
  await removals.settled();
  expect(await removals.adopt(names[0] ?? '')).toBe('gone');
  expect(await removals.adopt('notes')).toBe('later');
  expect(namesIn(discarded())).toEqual(names.slice(25).sort());
});

test('the end is waited for as long as was said and not twice, and nothing is taken over any more', async () => {
  const { removals, open } = heldBack();
  await removals.take(cell('a.00000001'));
  mkdirSync(join(discarded(), 'left-b.00000001'));
  const long = removals.end(600_000);
  await removals.end(50);
  // Whoever waited longer does not any more.
  await long;
  await removals.end(600_000);
  expect(removals.waiting).toBe(1);
  expect(await removals.adopt('left-b.00000001')).toBe('later');
  open();
  await removals.settled();
  expect(namesIn(discarded())).toEqual(['left-b.00000001']);
});

test('once the end is not waited for, a large folder that is being removed stays as it is, for any reaper', async () => {
  const large = cell('a.00000001');
  for (let folder = 0; folder < 20; folder++) {
    mkdirSync(join(large, 'workspace', `folder-${folder}`));
    for (let file = 0; file < 200; file++) writeFileSync(join(large, 'workspace', `folder-${folder}`, `${file}`), '');
  }
  const entriesIn = (name: string) => readdirSync(join(discarded(), name), { recursive: true }).length;
  const all = readdirSync(large, { recursive: true }).length;
  const told: unknown[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => void told.push(JSON.parse(line)) });
  const removals = removalsWith({ log });
  await removals.take(large);
  await vi.waitFor(() => expect(entriesIn(nameOfOwn(owner, 'a.00000001'))).toBeLessThan(all), {
    ...BOUND,
    interval: 1,
  });
  await removals.end(0);
  expect({ waiting: removals.waiting, left: [...removals.left], told }).toEqual({
    ...{ waiting: 0, left: ['a.00000001'], told: [] },
  });
  expect(namesIn(discarded())).toEqual(['left-a.00000001']);
  const left = entriesIn('left-a.00000001');
  expect(left).toBeGreaterThan(0);
  // Long enough for one that goes on to remove something.
  await sleep(100);
  expect(entriesIn('left-a.00000001')).toBe(left);

  const another = removalsWith({ owner: { ...owner, pid: process.ppid } });
  expect(await another.abandoned()).toEqual(['discarded/left-a.00000001']);
  expect(await another.adopt('discarded/left-a.00000001')).toBe('adopted');
  await another.settled();
  expect(namesIn(discarded())).toEqual([]);
});

test('once the end is not waited for, what has not begun is left at once, behind removals that hang too', async () => {
  const { removals, begun } = heldBack();
  const ids = [1, 2, 3, 4, 5].map(at => `a.${idOf(at)}`);
  for (const id of ids) await removals.take(cell(id));
  await vi.waitFor(() => expect(begun).toHaveLength(2), BOUND);
  await removals.end(0);
  expect(begun).toHaveLength(2);
  expect(removals.waiting).toBe(2);
  expect(namesIn(discarded()).filter(name => name.startsWith('left-'))).toEqual(ids.slice(2).map(id => `left-${id}`));
  // What comes too late is out of the way as well.
  await removals.take(cell('b.00000001'));
  await vi.waitFor(() => expect(namesIn(discarded())).toContain('left-b.00000001'), BOUND);
});

test('after the last cell has begun no folder is too many, and none of others is taken over', async () => {
  const { removals, open, begun } = heldBack();
  removals.close();
  const folders = Array.from({ length: 60 }, (_, at) => cell(`a.${idOf(at)}`));
  await Promise.all(folders.map(folder => removals.take(folder)));
  expect(removals.waiting).toBe(60);
  expect(namesIn(join(home, 'cells'))).toEqual([]);
  await vi.waitFor(() => expect(begun).toHaveLength(2), BOUND);
  mkdirSync(join(discarded(), 'left-b.00000001'));
  expect(await removals.adopt('left-b.00000001')).toBe('later');
  open();
  await removals.settled();
  expect(namesIn(discarded())).toEqual(['left-b.00000001']);
});
