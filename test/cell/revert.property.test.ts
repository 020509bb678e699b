import { test } from 'vitest';
import { expectExactReverts } from './revert-property.ts';

/** Each takes a third of a second; the slow suite makes many more. */
const RUNS = Number(process.env.REVERT_RUNS ?? 20);

test('revert puts back every byte, mode and link of any tree, whatever was done to it, and touches nothing else', async () => {
  await expectExactReverts(RUNS, 30_000);
}, 120_000);
