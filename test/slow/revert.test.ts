/** The same property as in the fast suite, over many more trees. */
import { test } from 'vitest';
import { expectExactReverts } from '../cell/revert-property.ts';

const MINUTE = 60_000;
const RUNS = Number(process.env.REVERT_RUNS ?? 300);

test(
  'revert puts back every byte, mode and link of any tree, whatever was done to it, and touches nothing else',
  async () => {
    await expectExactReverts(RUNS, 5 * MINUTE);
  },
  10 * MINUTE,
);
