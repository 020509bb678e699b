/**
 * The order of test files. A long file that begins last keeps one core busy and lets the other wait, and a fresh clone
 * has no durations of an earlier run to go by: vitest then begins with the largest files, which are seldom the longest.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Files that boot many servers or wait for something long, the longest first; the others follow in vitest's order. */
const LONG = [
  'test/slow/lost-redis.test.ts',
  'test/slow/scale.test.ts',
  'test/slow/package.test.ts',
  'test/slow/two-workers.test.ts',
  'test/cell/run-cell.test.ts',
  'test/cli/run.test.ts',
  'test/cell/agent-spawner.test.ts',
  'test/cell/execute.test.ts',
  'test/cell/isolated-cell.test.ts',
  'test/cli/stop.test.ts',
  'test/cli/environment.test.ts',
  'test/cell/run-cell-stopped.test.ts',
  'test/cell/run-cell-hooks.test.ts',
  'test/cli/reap.test.ts',
  'test/cli/supervisor.test.ts',
  'test/redis/private-server.test.ts',
  'test/redis/keep-server.test.ts',
  'test/worker/worker.test.ts',
  'test/cell/spawn.test.ts',
  'test/cli/demo/opencode.test.ts',
  'test/cli/grace.test.ts',
  'test/cli/others.test.ts',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const gone = LONG.filter(file => !existsSync(`${root}/${file}`));
    if (gone.length > 0) throw new Error(`named as long in test/support/longest-first.ts, but not there: ${gone}`);
    const groupOf = (file: TestSpecification) => file.project.config.sequence.groupOrder;
    const sorted = await super.sort(files);
    return sorted.sort((a, b) => groupOf(a) - groupOf(b) || placeOf(a) - placeOf(b));
  }
}

function placeOf({ moduleId }: TestSpecification): number {
  const place = LONG.findIndex(file => moduleId.endsWith(`/${file}`));
  return place === -1 ? LONG.length : place;
}
