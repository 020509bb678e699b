import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Files that work many whole attempts with real servers, start the command line many times, or do a lot with real git.
 * Together they take longer than everything else, so they are a suite of their own: `npm run test:whole`. They stay beside
 * what they test. The life of a cell, whatever ends it, and a task through the queue are in `npm test` all the same:
 * `test/cell/run-cell.test.ts`, `test/cli/control.test.ts`.
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
  'test/cli/remote.test.ts',
  'test/cli/logs.test.ts',
  'test/cli/input.test.ts',
  'test/cli/board.test.ts',
  'test/cli/ps.test.ts',
  'test/cli/landing.test.ts',
  'test/cli/land.test.ts',
  'test/cli/run-lands.test.ts',
  'test/cli/show.test.ts',
  'test/cli/budget.test.ts',
  'test/cli/folder.test.ts',
  'test/cli/demo/sample-repository.test.ts',
  'test/cell/settle.test.ts',
  'test/cell/settle-tracker.test.ts',
  'test/cell/warm-up.test.ts',
  'test/cell/workspace.test.ts',
  'test/cell/worktree.test.ts',
  'test/cell/hooks.test.ts',
  'test/cell/revert.property.test.ts',
  'test/git/planted.test.ts',
  'test/git/publish.test.ts',
  'test/git/mirror.test.ts',
  'test/worker/fleet.test.ts',
  'test/worker/warm-pool.test.ts',
];

const root = fileURLToPath(new URL('../..', import.meta.url));
// A file that was renamed would go back into `npm test` unnoticed.
const gone = WHOLE_ATTEMPTS.filter(file => !existsSync(`${root}/${file}`));
if (gone.length > 0) throw new Error(`named in test/support/whole-attempts.ts, but not there: ${gone}`);
