import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { holdLock, isFreeWithin } from '../../src/redis/file-lock.ts';
import { temporaryFolder } from './support.ts';

const LONG = 30_000;

test('one at a time holds the lock, and the next gets it when it is given back', async () => {
  const file = join(temporaryFolder(), 'lock');
  const order: number[] = [];
  let holders = 0;
  await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      const release = await holdLock(file, LONG);
      holders += 1;
      order.push(holders);
      await new Promise(resolve => setImmediate(resolve, index));
      holders -= 1;
      await release();
    }),
  );
  expect(order).toEqual([1, 1, 1, 1, 1, 1]);
  expect(await isFreeWithin(file, 0)).toBe(true);
});

test('a wait ends when it takes too long, and leaves the lock to its holder', async () => {
  const file = join(temporaryFolder(), 'lock');
  const release = await holdLock(file, LONG);
  await expect(holdLock(file, 50)).rejects.toMatchObject({ code: 'REDIS_UNAVAILABLE', exitCode: 3 });
  expect(await isFreeWithin(file, 0)).toBe(false);
  expect(await isFreeWithin(file, 50)).toBe(false);
  await release();
  expect(await isFreeWithin(file, LONG)).toBe(true);
});

test('a wait ends when it is aborted, with the reason', async () => {
  const file = join(temporaryFolder(), 'lock');
  const release = await holdLock(file, LONG);
  const abort = new AbortController();
  const waiting = holdLock(file, LONG, abort.signal);
  const reason = new Error('stop');
  abort.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  await release();
  expect(await isFreeWithin(file, 0)).toBe(true);
});

test('a lock file that cannot be made is an error, not a lock', async () => {
  const file = join(temporaryFolder(), 'no', 'such', 'folder', 'lock');
  await expect(holdLock(file, LONG)).rejects.toThrow(CellpoolError);
  await expect(isFreeWithin(file, 0)).rejects.toMatchObject({ code: 'STATE_FOLDER' });
});
