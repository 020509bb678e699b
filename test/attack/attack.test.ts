/** An agent that tries to get out, at each level: what it must not reach, and what it is known to reach. */
import { expect, onTestFinished, test } from 'vitest';
import { chooseIsolation } from '../../src/os/isolation.ts';
import { expectedOf, isTried, LEVELS } from './attack.ts';
import { ON_CELLS } from './on-cells.ts';
import { ON_GIT } from './on-git.ts';
import { ON_LIMITS } from './on-limits.ts';
import { ON_MACHINE } from './on-machine.ts';
import { ON_TRACKER } from './on-tracker.ts';
import { runLevel, type Verdicts } from './run.ts';
import { runLimits } from './run-limits.ts';
import { keepTable, tableOf } from './table.ts';

const ATTACKS = [...ON_CELLS, ...ON_GIT, ...ON_MACHINE, ...ON_TRACKER];
const ROWS = [...ATTACKS, ...ON_LIMITS];
const seen: Partial<Record<(typeof LEVELS)[number], Verdicts>> = {};

test.each(LEVELS)('level %s', async level => {
  const missing = await chooseIsolation(level).then(
    () => null,
    (error: Error) => error.message,
  );
  if (missing !== null) {
    process.stdout.write(`level ${level} is skipped: ${missing}\n`);
    return;
  }
  const tried = ROWS.filter(attack => isTried(attack, level));
  expect(tried.length).toBeGreaterThanOrEqual(25);
  for (const { id, unfit } of ROWS) {
    const why = unfit?.() ?? null;
    if (why !== null) process.stdout.write(`${id} is not tried: ${why}\n`);
  }
  seen[level] = { ...(await runLevel(level, ATTACKS)), ...(await runLimits(level, ON_LIMITS)) };
  const expected = tried.map(async attack => [attack.id, await expectedOf(attack, level)]);
  expect(seen[level]).toEqual(Object.fromEntries(await Promise.all(expected)));
});

test('the table in docs/security.md says what was seen', () => {
  const table = tableOf(ROWS, (attack, level) => attack.expected[level]);
  onTestFinished(() => {
    process.stdout.write(`\nSeen on this machine:\n\n${tableOf(ROWS, ({ id }, level) => seen[level]?.[id] ?? null)}\n`);
  });
  expect(keepTable(table, process.env.UPDATE === '1')).toBe(table);
});
