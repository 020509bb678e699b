import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { freeDisk, isDiskFull, namingFullDisk } from '../../src/os/disk.ts';

const noSpace = () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
const ofGit = (said: string) => new CellpoolError('COMMIT_FAILED', `git add: ${said}`, { facts: { program: 'git' } });

describe('a full disk', () => {
  test.each<[string, unknown]>([
    ['by its code', noSpace()],
    [
      'by the code of a cause, however deep',
      new CellpoolError('INTERNAL', 'x', { cause: new Error('y', { cause: noSpace() }) }),
    ],
    ['by what git said', ofGit('fatal: unable to write loose object file: No space left on device')],
    ['by a quota that is used up', Object.assign(new Error('EDQUOT'), { code: 'EDQUOT' })],
  ])('is known %s', (_name, error) => expect(isDiskFull(error)).toBe(true));

  const circle = new Error('circle');
  circle.cause = circle;
  test.each<[string, unknown]>([
    ['another error', Object.assign(new Error('x'), { code: 'EIO' })],
    ['another fault of git', ofGit('fatal: bad object')],
    ['the same words of somebody else', new CellpoolError('SETUP_FAILED', 'echo No space left on device')],
    ['an error that is its own cause', circle],
    ['no error at all', null],
  ])('is not taken for it: %s', (_name, error) => expect(isDiskFull(error)).toBe(false));

  test('gives its code to an error that comes from it, unless that is a cancellation', () => {
    const setup = new CellpoolError('SETUP_FAILED', 'the setup failed', { facts: { exitCode: 1 }, cause: noSpace() });
    expect(namingFullDisk(setup)).toMatchObject({ code: 'DISK_FULL', message: setup.message, facts: { exitCode: 1 } });
    const cancelled = new CellpoolError('CANCELLED', 'x', { cause: noSpace() });
    expect(namingFullDisk(cancelled)).toBe(cancelled);
    const other = new CellpoolError('INTERNAL', 'x');
    expect(namingFullDisk(other)).toBe(other);
  });
});

test('the free disk of a folder is told in bytes, and a folder that is not there is an error', async () => {
  expect(await freeDisk(tmpdir())).toBeGreaterThan(0);
  await expect(freeDisk('/no/such/folder')).rejects.toMatchObject({ code: 'ENOENT' });
});
