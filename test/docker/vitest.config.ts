/** Tests that need a Docker engine: `npm run test:docker`. One at a time, since they build and start containers. */
import { defineConfig } from 'vitest/config';
import { suite } from '../support/suite.ts';

const MINUTE = 60_000;

export default defineConfig({
  test: suite({
    include: ['test/docker/**/*.test.ts'],
    maxWorkers: 1,
    testTimeout: 10 * MINUTE,
    hookTimeout: 5 * MINUTE,
  }),
});
