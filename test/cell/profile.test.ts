import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseProfile } from '../../src/cell/profile.ts';
import { CELL_MEMORY_BYTES } from '../../src/os/memory.ts';

const MIB = 1024 * 1024;

test('what was asked for is what a cell gets, however much memory there is', async () => {
  for (const free of [0, 2 ** 50]) {
    expect(await chooseProfile('fast', { reserveMb: 1, toCome: 50 }, async () => free)).toBe('fast');
    expect(await chooseProfile('dense', { reserveMb: 1, toCome: 1 }, async () => free)).toBe('dense');
  }
});

test('auto is fast for as long as all cells that may still come would fit in beside the reserve as fast ones', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 50 }),
      fc.nat(4_096),
      fc.integer({ min: -(2 ** 30), max: 2 ** 30 }),
      async (toCome, reserveMb, off) => {
        const free = reserveMb * MIB + toCome * CELL_MEMORY_BYTES.fast + off;
        const chosen = await chooseProfile('auto', { reserveMb, toCome }, async () => free);
        expect(chosen).toBe(off >= 0 ? 'fast' : 'dense');
      },
    ),
  );
});
