import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseProfile } from '../../src/cell/profile.ts';
import { CELL_MEMORY_BYTES } from '../../src/os/memory.ts';

test('what was asked for is what a cell gets, however much memory there is', () => {
  for (const room of [-1, 0, 2 ** 40]) {
    expect(chooseProfile('fast', { room, toCome: 50 })).toBe('fast');
    expect(chooseProfile('dense', { room, toCome: 1 })).toBe('dense');
  }
});

test('auto is fast for as long as all cells that may still come would fit in as fast ones', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: -(2 ** 30), max: 2 ** 30 }), (toCome, off) => {
      const room = toCome * CELL_MEMORY_BYTES.fast + off;
      expect(chooseProfile('auto', { room, toCome })).toBe(off >= 0 ? 'fast' : 'dense');
    }),
  );
});
