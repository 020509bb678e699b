/** Whose a discarded folder is stands in its name; only what nobody removes any more is taken over. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { TASK_ID_MAX } from '../../src/job/names.ts';
import { ownIdentity, type ProcessIdentity } from '../../src/os/identity.ts';
import { abandonedIn, cellOf, nameOfLeft, nameOfOwn } from '../../src/worker/owned-folders.ts';
import { tempFolder } from '../support/repository.ts';

let home: string;
let self: ProcessIdentity;
beforeEach(async () => {
  home = tempFolder('discarded');
  self = await ownIdentity();
});

const put = (...names: string[]) => {
  for (const name of names) mkdirSync(join(home, 'discarded', name), { recursive: true });
};

test('a state folder without discarded folders, or with a file in their place, has none', async () => {
  expect(await abandonedIn(home, self)).toEqual([]);
  writeFileSync(join(home, 'discarded'), '');
  expect(await abandonedIn(home, self)).toEqual([]);
});

test('abandoned is what a process had that is gone, or gave up; not what a living one has, or what we did not make', async () => {
  const gone = nameOfOwn({ ...self, pid: 2 ** 29 }, 'a.00000001');
  const another = nameOfOwn({ ...self, startTime: '1' }, 'a.00000002');
  const abandoned = [gone, another, nameOfLeft('a.00000004')];
  put(
    ...abandoned,
    nameOfOwn(self, 'a.00000003'),
    'notes',
    '12-',
    '99999999999-1-1-1-a.00000006',
    `${self.pid}-1-a.00000005`,
    'left-',
    'left-x',
  );
  expect((await abandonedIn(home, self)).sort()).toEqual(abandoned.map(name => `discarded/${name}`).sort());
});

test('what is of another container, or of before a restart of the machine, is abandoned when it is old', async () => {
  const foreign = [
    nameOfOwn({ ...self, pidNamespace: 'pid:[1]' }, 'a.00000001'),
    nameOfOwn({ ...self, bootId: '0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f' }, 'a.00000002'),
  ];
  put(...foreign, nameOfOwn(self, 'a.00000003'));
  expect(await abandonedIn(home, self)).toEqual([]);
  const now = Date.now();
  vi.spyOn(Date, 'now').mockReturnValue(now + 11 * 60_000);
  try {
    expect((await abandonedIn(home, self)).sort()).toEqual(foreign.map(name => `discarded/${name}`).sort());
  } finally {
    vi.restoreAllMocks();
  }
});

test('the longest task id has room in a name, and the cell is found in it again', () => {
  const cellId = `${'a-1'.repeat(40).slice(0, TASK_ID_MAX)}.0123abcd`;
  const longest = { pid: 4_194_304, startTime: '9'.repeat(15), bootId: self.bootId, pidNamespace: 'pid:[4026531836]' };
  for (const name of [nameOfOwn(self, cellId), nameOfOwn(longest, cellId), nameOfLeft(cellId)]) {
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
    expect(cellOf(name)).toBe(cellId);
  }
  const nowhere = { pid: 7, startTime: '', bootId: '', pidNamespace: '' };
  expect(cellOf(nameOfOwn(nowhere, cellId))).toBe(cellId);
  expect(cellOf('notes')).toBe(null);
});
