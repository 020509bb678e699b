import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Files that work many whole attempts with real servers. Together they take as long as everything else, so they are a
 * suite of their own: `npm run test:whole`. They stay beside what they test. The life of a cell, whatever ends it, and a
 * task through the queue are in `npm test` all the same: `test/cell/run-cell.test.ts`, `test/cli/control.test.ts`.
 */
export const WHOLE_ATTEMPTS: readonly string[] = [
  'test/cli/run.test.ts',
  'test/cli/stop.test.ts',
  'test/cell/isolated-cell.test.ts',
  'test/cell/run-cell-stopped.test.ts',
  'test/cli/reap.test.ts',
  'test/cell/agent-spawner.test.ts',
  'test/cell/execute.test.ts',
  'test/cli/environment.test.ts',
  'test/cli/supervisor.test.ts',
  'test/cell/run-cell-hooks.test.ts',
  'test/cli/grace.test.ts',
  'test/cli/remote-run.test.ts',
];

const root = fileURLToPath(new URL('../..', import.meta.url));
// A file that was renamed would go back into `npm test` unnoticed.
const gone = WHOLE_ATTEMPTS.filter(file => !existsSync(`${root}/${file}`));
if (gone.length > 0) throw new Error(`named in test/support/whole-attempts.ts, but not there: ${gone}`);
