import { describe, expect, test } from 'vitest';
import { CellpoolError } from '../../../src/errors.ts';
import { judgeVersion } from '../../../src/producer/beads/bd-version.ts';

function refusalOf(printed: string): CellpoolError {
  try {
    judgeVersion(printed, '/usr/bin/bd');
  } catch (error) {
    if (error instanceof CellpoolError) return error;
  }
  throw new Error(`taken: ${printed}`);
}

describe('which versions of bd are used', () => {
  test.each(['bd version 1.3.0 (dev)', 'bd version 1.3.0', 'bd version 1.4.1 (abc)\n', 'bd version 2.0.0-rc.1 (x)'])(
    '%j is taken as it is, and can tie a change to who has the bead',
    printed => {
      expect(judgeVersion(printed, 'bd')).toMatchObject({ hasGuards: true, warning: null });
    },
  );

  test.each([
    'bd version 1.0.4 (ae1)',
    'bd version 1.0.5',
    'bd version 1.1.2 (Homebrew)',
    'bd version 1.2.2 (6c124203e)',
  ])('%j is taken with a warning that two can claim the same bead', printed => {
    const { warning, hasGuards } = judgeVersion(printed, 'bd');
    expect(warning).toMatch(/two claim the same bead/);
    expect(hasGuards).toBe(false);
  });

  test.each([
    ['bd version 0.49.1 (abc)', /older than 1\.0\.4/],
    ['bd version 0.63.3', /older than 1\.0\.4/],
    ['bd version 1.0.3', /older than 1\.0\.4/],
    ['bd version 1.1.0', /does not open/],
    ['bd version 1.2.0', /withdrawn/],
    ['bd version 1.2.1 (x)', /withdrawn/],
  ])('%j is refused, with what to install', (printed, why) => {
    const error = refusalOf(printed);
    expect(error.message).toMatch(why);
    expect(error).toMatchObject({ code: 'SOURCE_UNAVAILABLE', exitCode: 3, hint: expect.stringContaining('1.3.0') });
  });

  test.each(['', 'bd: the bit dabbler 1.0', 'version 1.3.0'])('%j is no bd', printed => {
    expect(refusalOf(printed).message).toMatch(/does not say which version/);
  });
});
