import { expect, test } from 'vitest';
import { planOf } from '../../src/cli/task-input.ts';
import { loadSettings } from '../../src/config.ts';
import { planSchema } from '../../src/job/job.ts';

const planWith = (env: NodeJS.ProcessEnv) => planOf(loadSettings({ env: { HOME: '/nonexistent', ...env } }));

test('environments and caches travel with the job, and what nobody asked for is left out', () => {
  const plain = planWith({});
  expect(Object.keys(plain).sort()).toEqual(['author', 'opencode', 'setupMs', 'testMs']);
  const asked = planWith({ CELLPOOL_PYTHON: 'off', CELLPOOL_CACHES: 'shared' });
  expect(asked).toEqual({ ...plain, python: 'off', caches: 'shared' });
  expect(planSchema.parse(asked)).toEqual(asked);
});
