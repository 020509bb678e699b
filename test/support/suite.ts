/** What the suites have in common: one process a file, time limits with room for a slow machine, the leak checks. */
import { fileURLToPath } from 'node:url';
import type { ViteUserConfig } from 'vitest/config';

type SuiteOptions = NonNullable<ViteUserConfig['test']>;

const SECOND = 1_000;

export function suite(options: SuiteOptions): SuiteOptions {
  return {
    pool: 'forks',
    testTimeout: 60 * SECOND,
    hookTimeout: 60 * SECOND,
    // The leak check of the whole run is part of the teardown and may wait for processes that are on their way out.
    teardownTimeout: 30 * SECOND,
    globalSetup: [fileURLToPath(new URL('../global-setup.ts', import.meta.url))],
    setupFiles: [fileURLToPath(new URL('./leaks-of-file.ts', import.meta.url))],
    ...options,
  };
}
