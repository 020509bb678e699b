/** Tests in a real browser: `npm run test:browser`. They need Chromium, and say so where there is none. */
import { defineConfig } from 'vitest/config';
import { suite } from '../support/suite.ts';

const MINUTE = 60_000;

export default defineConfig({
  test: suite({
    include: ['test/browser/**/*.test.ts'],
    maxWorkers: 1,
    testTimeout: 2 * MINUTE,
    hookTimeout: 2 * MINUTE,
  }),
});
