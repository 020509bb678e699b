/**
 * Tests that take minutes: `npm run test:slow`. Most of that they wait, so two go side by side. Those that would not
 * show what they are there for on a machine that is busy otherwise follow one by one.
 */
import { defineConfig } from 'vitest/config';
import { FILES, RUN } from '../support/suite.ts';

const MINUTE = 60_000;

const ALONE = ['blocked-loop', 'fleet', 'limits', 'lost-redis', 'output', 'scale', 'stall', 'two-workers'].map(
  name => `test/slow/${name}.test.ts`,
);
const OTHERS = { include: ['test/slow/**/*.test.ts'], exclude: ALONE };

const files = { ...FILES, testTimeout: 10 * MINUTE, hookTimeout: 5 * MINUTE };

export default defineConfig({
  test: {
    ...RUN,
    projects: [
      { test: { ...files, name: 'together', ...OTHERS, maxWorkers: 2 } },
      { test: { ...files, name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 1 } } },
    ],
  },
});
