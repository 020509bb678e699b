/** What the suites have in common: one process a file, time limits with room for a slow machine, the leak checks. */
import { fileURLToPath } from 'node:url';
import type { ViteUserConfig } from 'vitest/config';
import { LongestFirst } from './longest-first.ts';

type SuiteOptions = NonNullable<ViteUserConfig['test']>;

const SECOND = 1_000;

/** What is said, and done, once for all files of a run. */
export const RUN = {
  sequence: { sequencer: LongestFirst },
  // The leak check of the whole run is part of the teardown and may wait for processes that are on their way out.
  teardownTimeout: 30 * SECOND,
  globalSetup: [fileURLToPath(new URL('../global-setup.ts', import.meta.url))],
} satisfies SuiteOptions;

/** What holds in every file. */
export const FILES = {
  pool: 'forks',
  testTimeout: 60 * SECOND,
  hookTimeout: 60 * SECOND,
  setupFiles: [fileURLToPath(new URL('./leaks-of-file.ts', import.meta.url))],
} satisfies SuiteOptions;

export function suite(options: SuiteOptions): SuiteOptions {
  return { ...RUN, ...FILES, ...options };
}
