/** The agent that tries to get out, at each level: `npm run attack`. One level at a time, since each boots servers. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { suite } from '../support/suite.ts';

const MINUTE = 60_000;
const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url));

export default defineConfig({
  test: suite({
    include: ['test/attack/**/*.test.ts'],
    maxWorkers: 1,
    testTimeout: 15 * MINUTE,
    hookTimeout: 5 * MINUTE,
    globalSetup: [pathOf('../global-setup.ts'), pathOf('./worker-setup.ts')],
  }),
});
