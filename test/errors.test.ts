import { expect, test } from 'vitest';
import { asCellpoolError, CellpoolError, InvalidInput, messageOf } from '../src/errors.ts';

test('an error carries its code, facts and hint, and whether another attempt could help', () => {
  const cause = new Error('why');
  const error = new CellpoolError('TESTS_FAILED', 'tests failed', { hint: 'look', facts: { exitCode: 1 }, cause });
  expect(error).toMatchObject({
    name: 'CellpoolError',
    code: 'TESTS_FAILED',
    hint: 'look',
    facts: { exitCode: 1 },
    cause,
  });
  expect([error.retryable, error.exitCode]).toEqual([true, 1]);
  expect(new CellpoolError('OVER_BUDGET', 'x').retryable).toBe(false);
  expect(new CellpoolError('REDIS_UNAVAILABLE', 'x').exitCode).toBe(3);
});

test('bad input lists every fault with its place, and ends a command with 2', () => {
  const error = new InvalidInput([
    { where: 't.jsonl:1', what: 'is empty' },
    { where: '--model', what: 'is written provider/model' },
  ]);
  expect(error.message).toBe('t.jsonl:1: is empty\n--model: is written provider/model');
  expect([error.code, error.exitCode, error.retryable]).toEqual(['INVALID_INPUT', 2, false]);
  expect(new InvalidInput([], 'UNKNOWN_BASE').exitCode).toBe(2);
});

test('anything thrown becomes an error of ours, once, with what it was kept', () => {
  const own = new CellpoolError('STALLED', 'x');
  expect(asCellpoolError(own)).toBe(own);
  const foreign = new TypeError('odd');
  expect(asCellpoolError(foreign)).toMatchObject({ code: 'INTERNAL', message: 'odd', cause: foreign });
  expect(asCellpoolError('text')).toMatchObject({ code: 'INTERNAL', message: 'text', cause: 'text' });
  expect(messageOf(undefined)).toBe('undefined');
});
