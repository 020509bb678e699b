import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isCellId, taskNamedBy } from '../../src/redis/cell-record.ts';

const hex = fc.stringMatching(/^[0-9a-f]{8}$/);
const task = fc
  .stringMatching(/^[a-z][a-z0-9-]{0,20}(\.[a-z][a-z0-9-]{0,5})?$/)
  .filter(id => isCellId(`${id}.00000000`));

test('the id of a cell names its task, dots and all, but of one that was made ahead, or is of a lander, it names none', () => {
  fc.assert(
    fc.property(task, hex, (id, end) => {
      expect(taskNamedBy(`${id}.${end}`)).toBe(id === 'warm' || id === 'landing' ? null : id);
    }),
  );
  expect(taskNamedBy('warm.0123abcd')).toBeNull();
  expect(taskNamedBy('landing.0123abcd')).toBeNull();
  expect(taskNamedBy('warm.up.0123abcd')).toBe('warm.up');
});
