/** What bd says when it makes no change, as its source has it: which of that is for good, and what is to be done. */
import { describe, expect, test } from 'vitest';
import { isGone, isRefusal, troubleOf, unanswered } from '../../../src/producer/beads/bd-trouble.ts';

const says = (said: string, exitCode = 1) => ({ said, exitCode });
const failed = (error: string) => `1 of 1 issues failed to update\nupdating issue: ${error}`;

describe('a refusal', () => {
  test.each([
    'cannot close p-a1: 1 open child issue(s); close children first or use --force to override',
    'cannot close p-a1: assignee is "anna", actor is "cellpool/p-a1"; reclaim or use --force to override',
    'cannot close blocked issue: p-a1 is blocked by [p-b2 journal-1] (use --force to override)',
    'cannot modify pinned issue p-a1 (use --force to override)',
    "cannot modify template p-a1: templates are read-only; use 'bd mol pour' to create a work item",
    'cannot reassign p-a1: held by "anna" (in_progress); coordinate with the holder (bd mail anna)',
    failed('issue already claimed by anna'),
    failed('issue already claimed: already assigned to "anna" — coordinate with the holder'),
    failed('issue not claimable: status deferred'),
    'Error updating bd-1: issue already claimed by anna',
    '1 of 1 issues failed to update\nresolving issue: no issue found matching "p-a1"',
    'Issue p-a1 not found',
  ])('is what bd will say again: %j', said => expect(isRefusal('bd', says(said))).toBe(true));

  test('is a condition that does not hold any more, which has an exit code of its own', () => {
    const said = failed('assignee mismatch: p-a1 is held by "", expected "anna"');
    expect(isRefusal('bd', says(said, 13))).toBe(true);
    expect(isRefusal('bd', says(said))).toBe(false);
  });

  test.each([
    failed('Error 1105: cannot update manifest: database is read only'),
    'Error closing p-a1: Error 1105 (HY000): cannot update manifest: database is read only',
    failed('Error 2006: MySQL server has gone away'),
    failed('Error 2013: Lost connection to MySQL server during query'),
    'Error closing p-a1: write tcp 127.0.0.1:3307: write: broken pipe',
    "resolving ID p-a1: Error 1049: Unknown database 'beads_p'",
    'Error closing p-a1: no root value found in session',
    'failed to commit: write commit result indeterminate',
    'Error closing p-a1: something that nobody has seen before',
    'exec: "git": executable file not found in $PATH',
    'database not found',
    '',
  ])('is not what may go better later: %j', said => {
    expect(isRefusal('bd', says(said))).toBe(false);
    expect(isGone(said)).toBe(false);
    expect(unanswered('bd', says(said))).toMatchObject({ code: 'SOURCE_UNAVAILABLE', hint: expect.any(String) });
  });
});

describe('the names of beads and people say nothing about the database', () => {
  test.each(['journal-a1b', 'app-denied', 'panic-manifest', 'eof', 'lost-connection-gone'])('%s', name => {
    for (const said of [
      `no issue found matching "${name}"`,
      `Issue ${name} not found`,
      `Error fetching ${name}: no issue found matching "${name}"`,
      `cannot close ${name}: 2 open child issue(s); close children first or use --force to override`,
      `cannot close blocked issue: p-1 is blocked by [${name}]`,
      failed(`issue already claimed by ${name}`),
    ]) {
      expect(troubleOf('bd', says(said))).toBeNull();
      expect(isRefusal('bd', says(said))).toBe(true);
    }
  });

  test('and hide no trouble', () => {
    const told = (said: string) => troubleOf('bd', says(said))?.hint;
    expect(told('Error closing app-denied: checksum error in the journal')).toMatch(/may be damaged/);
    expect(told('Error fetching p-1: dial tcp 127.0.0.1:3307: connect: connection refused')).toMatch(/bd dolt start/);
    expect(told('Error updating p-1: database is locked by another dolt process')).toMatch(/Another bd works/);
  });
});
