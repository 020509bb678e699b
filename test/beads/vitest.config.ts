/** Tests with the real bd: `npm run test:beads`. One at a time, since each of them fills the machine. */
import { defineConfig } from 'vitest/config';
import { suite } from '../support/suite.ts';

const MINUTE = 60_000;

export default defineConfig({
  test: suite({
    include: ['test/beads/**/*.test.ts'],
    maxWorkers: 1,
    testTimeout: 10 * MINUTE,
    hookTimeout: 5 * MINUTE,
  }),
});
