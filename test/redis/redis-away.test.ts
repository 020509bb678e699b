/** One answer to whether Redis is away, for everybody who asks. */
import { expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { isAway, unavailable } from '../../src/redis/redis-away.ts';

const refused = Object.assign(new Error('EXECABORT Transaction discarded'), {
  previousErrors: [new Error('OOM command not allowed')],
});

test.each([
  ['a connection that is gone', new Error('Connection is closed.'), true],
  ['a server that is not reached', new Error('connect ECONNREFUSED 127.0.0.1:6379'), true],
  ['one that only reads', new Error("READONLY You can't write against a read only replica."), true],
  ['one that cannot save', new Error('MISCONF Redis is configured to save RDB snapshots'), true],
  ['one that has not loaded its data', new Error('LOADING Redis is loading the dataset in memory'), true],
  ['a transaction that was refused for want of memory', refused, true],
  ['a command that is wrong', new Error('WRONGTYPE Operation against a key'), false],
  ['a fault of ours', new TypeError("Cannot read properties of undefined (reading 'id')"), false],
])('%s', (_case, error, away) => {
  expect(isAway(error)).toBe(away);
  expect(unavailable(error, 'It stopped', 'Try again.').code).toBe(away ? 'REDIS_UNAVAILABLE' : 'INTERNAL');
});

test('an error of cellpool itself stays what it is', () => {
  const error = new CellpoolError('NO_SUCH_JOB', 'There is none.');
  expect(unavailable(error, 'It stopped', 'Try again.')).toBe(error);
});
