/** A state folder that cannot be used, with a Redis that can: the command says so and ends, whatever it had begun. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeAddress } from '../../src/redis/address.ts';
import { CliHome } from '../support/cli.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

const cli = new CliHome();
let redis: TestRedis;
let url: string;

beforeAll(async () => {
  redis = await testRedis();
  url = describeAddress(redis.address);
});
afterAll(async () => {
  await redis.close();
  cli.remove();
});

test.each([
  ['a worker under its supervisor', ['worker']],
  ['a worker by itself', ['worker', '--no-supervisor']],
  ['a run', ['run', '--id', 'a', '--prompt', 'do it']],
])('%s ends with 3 and the way out', async (_, command) => {
  const repository = cli.file(`file-${command.length}`, 'in the way');
  const env = { REDIS_URL: url, CELLPOOL_HOME: `${repository}/state`, CELLPOOL_PREFIX: redis.prefix() };
  const source = command[0] === 'run' ? ['--repo', cli.repository()] : [];
  const { exitCode, stderr } = await cli.run([...command, ...source], { env });
  expect(stderr).toContain('the state folder cannot be used');
  expect(stderr).toContain('CELLPOOL_HOME');
  expect(exitCode).toBe(3);
});
