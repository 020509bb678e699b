/**
 * Parts that meet in Redis, on whichever Redis there is: `npm run test:integration`. They take the one at `REDIS_URL`;
 * else a container, when a Docker engine answers; else a private one. `CELLPOOL_TEST_REDIS=url|docker|private` asks for
 * one of them. The same files run in `npm test`, each with a private Redis of its own.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { FILES, RUN } from '../support/suite.ts';

// What is common to all suites takes it away, as it does with all of an operator's settings.
process.env.CELLPOOL_TEST_REDIS_GIVEN ??= process.env.REDIS_URL ?? '';

/** They ask for nothing that would be in the way of others on the same Redis. */
const SHARING = [
  'test/producer/{cancel,dependencies,follow,retry}.test.ts',
  'test/producer/source/{bridge,watch}.test.ts',
  'test/redis/{dependencies,job-data,source-ledger}.test.ts',
  'test/worker/{dependents,job-dependencies,job-queue}.test.ts',
];

export default defineConfig({
  test: {
    ...RUN,
    ...FILES,
    globalSetup: [...RUN.globalSetup, fileURLToPath(new URL('./redis-of-run.ts', import.meta.url))],
    include: SHARING,
    maxWorkers: 2,
  },
});
