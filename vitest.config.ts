/**
 * The suite that `npm test` runs. The slower ones have configs of their own beside their tests (test/whole, test/slow,
 * test/beads, test/attack, test/docker, test/browser), so that a plain `vitest run` stays within a few minutes on two cores.
 */
import { defineConfig } from 'vitest/config';
import { suite } from './test/support/suite.ts';
import { WHOLE_ATTEMPTS } from './test/support/whole-attempts.ts';

export default defineConfig({
  test: suite({
    include: ['test/**/*.test.ts'],
    exclude: [
      ...WHOLE_ATTEMPTS,
      'test/slow/**',
      'test/beads/**',
      'test/docker/**',
      'test/attack/**',
      'test/browser/**',
    ],
    // Most of a test's time is waiting for a server or for Redis, so a third worker pays even on two cores.
    maxWorkers: 3,
  }),
});
