/** The tests of `npm test` that take minutes (see `whole-attempts.ts`): `npm run test:whole`. */
import { defineConfig } from 'vitest/config';
import { suite } from '../support/suite.ts';
import { WHOLE_ATTEMPTS } from '../support/whole-attempts.ts';

const MINUTE = 60_000;

export default defineConfig({
  test: suite({ include: [...WHOLE_ATTEMPTS], maxWorkers: 3, testTimeout: 5 * MINUTE, hookTimeout: 5 * MINUTE }),
});
