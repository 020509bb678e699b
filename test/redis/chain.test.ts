/** Several scripts as one, on a real Redis. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Chain } from '../../src/redis/chain.ts';
import { redisForFile } from './support.ts';

let server: Awaited<ReturnType<typeof redisForFile>>;
beforeAll(async () => {
  server = await redisForFile();
});
afterAll(() => server.close());

/** Appends its arguments to its key, and returns how many keys and arguments it was given. */
const APPEND = `
for _, text in ipairs(ARGV) do redis.call('APPEND', KEYS[1], text) end
return {#KEYS, #ARGV}
`;

test('each script of a chain runs with keys and arguments of its own, in their order', async () => {
  const redis = server.client();
  const chain = new Chain([
    { source: APPEND, goesOn: 'reply[2] == 2' },
    { source: APPEND, goesOn: 'true' },
    { source: "return redis.call('GET', KEYS[1])", goesOn: 'true' },
  ]);
  const replies = await chain.run(redis, [
    { keys: ['a', 'b'], args: ['1', 2] },
    { keys: ['a'], args: ['3'] },
    { keys: ['a'], args: [] },
  ]);
  expect(replies).toEqual([[2, 2], [1, 1], '123']);
});

test('a script that does not say to go on is the last one that runs, and its answer the last that comes', async () => {
  const redis = server.client();
  const chain = new Chain([
    { source: 'return nil', goesOn: 'reply == nil' },
    { source: 'return 0', goesOn: 'reply == 1' },
    { source: APPEND, goesOn: 'true' },
  ]);
  const calls = [
    { keys: [], args: [] },
    { keys: [], args: [] },
    { keys: ['never'], args: ['x'] },
  ];
  expect(await chain.run(redis, calls)).toEqual([null, 0]);
  expect(await redis.exists('never')).toBe(0);
});

test('a script is left out for what those before have returned, and the next one has its own keys all the same', async () => {
  const redis = server.client();
  const chain = new Chain([
    { source: 'return ARGV[1]', goesOn: 'true' },
    { source: APPEND, unless: "replies[1] == 'no'", goesOn: 'false' },
    { source: "return {KEYS[1], ARGV[1], redis.call('EXISTS', KEYS[1])}", goesOn: 'true' },
  ]);
  const run = (word: string) =>
    chain.run(redis, [
      { keys: [], args: [word] },
      { keys: ['left'], args: ['x'] },
      { keys: ['left'], args: ['own'] },
    ]);
  expect(await run('no')).toEqual(['no', null, ['left', 'own', 0]]);
  expect(await run('yes')).toEqual(['yes', [1, 1]]);
});
