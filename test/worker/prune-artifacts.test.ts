import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { type PruneOptions, pruneArtifacts } from '../../src/worker/prune-artifacts.ts';
import { tempFolder } from '../support/repository.ts';

const HOUR_MS = 3_600_000;
const MIB = 1024 * 1024;

function setting() {
  const home = join(tempFolder('prune'), 'home');
  mkdirSync(join(home, 'artifacts'), { recursive: true });
  const path = (name: string) => join(home, 'artifacts', name);
  return {
    home,
    path,
    /** The folder of an attempt (`task/1-0123abcd`) that ended so many hours ago. */
    attempt(name: string, hours: number, mib = 0) {
      mkdirSync(path(name), { recursive: true });
      writeFileSync(join(path(name), 'result.json'), Buffer.alloc(Math.max(1, mib * MIB), 1));
      const then = new Date(Date.now() - hours * HOUR_MS);
      utimesSync(path(name), then, then);
    },
    left: () => {
      const tasks = readdirSync(join(home, 'artifacts')).sort();
      return tasks.flatMap(task => readdirSync(path(task)).map(one => `${task}/${one}`));
    },
    prune: (more: Partial<PruneOptions> = {}) =>
      pruneArtifacts({ home, artifactDays: null, artifactsMb: null, running: new Set(), ...more }),
  };
}

test('attempts older than the days are removed, with the folder of a task that has no other', async () => {
  const { attempt, prune, left } = setting();
  attempt('a/1-00000001', 49);
  attempt('b/1-00000002', 49);
  attempt('b/2-00000003', 47);
  expect(await prune({ artifactDays: 2 })).toMatchObject({ removed: 2, faults: [] });
  expect(left()).toEqual(['b/2-00000003']);
  expect(await prune({ artifactDays: 2 })).toMatchObject({ removed: 0 });
});

test('the oldest are removed until the others take no more than they may', async () => {
  const { attempt, prune, left } = setting();
  attempt('c/1-00000001', 5, 3);
  attempt('a/1-00000002', 4, 3);
  attempt('b/1-00000003', 3, 3);
  attempt('d/1-00000004', 2, 3);
  const { removed, leftBytes } = await prune({ artifactsMb: 7 });
  expect(removed).toBe(2);
  expect(left()).toEqual(['b/1-00000003', 'd/1-00000004']);
  expect(leftBytes).toBeGreaterThan(6 * MIB);
  expect(leftBytes).toBeLessThan(7 * MIB);
});

test('without limits nothing is removed, and what all take is told', async () => {
  const { attempt, prune, left } = setting();
  attempt('a/1-00000001', 100_000, 2);
  const { removed, leftBytes } = await prune();
  expect(removed).toBe(0);
  expect(leftBytes).toBeGreaterThanOrEqual(2 * MIB);
  expect(left()).toHaveLength(1);
});

test('a running task keeps all of its attempts, and an attempt of the last minutes stays, whatever they take', async () => {
  const { attempt, prune, left } = setting();
  attempt('running/1-00000001', 99, 2);
  attempt('running/2-00000002', 99, 2);
  attempt('recent/1-00000003', 0.1, 2);
  attempt('old/1-00000004', 1, 2);
  const pruned = await prune({ artifactDays: 0.001, artifactsMb: 1, running: new Set(['running']) });
  expect(pruned).toMatchObject({ removed: 1, faults: [] });
  expect(left()).toEqual(['recent/1-00000003', 'running/1-00000001', 'running/2-00000002']);
});

test('links are neither followed nor removed, and nothing of another form is touched', async () => {
  const { home, path, attempt, prune } = setting();
  const outside = join(dirname(home), 'outside');
  mkdirSync(join(outside, '1-00000001'), { recursive: true });
  writeFileSync(join(outside, '1-00000001', 'file'), 'precious');
  const then = new Date(0);
  for (const one of [join(outside, '1-00000001'), outside]) utimesSync(one, then, then);
  symlinkSync(outside, path('linked'));
  attempt('a/1-00000001', 99);
  symlinkSync(join(outside, '1-00000001'), path('a/2-00000002'));
  writeFileSync(path('file'), 'x');
  writeFileSync(path('a/note'), 'x');
  symlinkSync(outside, join(path('a/1-00000001'), 'link'));
  utimesSync(path('a/1-00000001'), then, then);
  mkdirSync(path('-rf/1-00000001'), { recursive: true });
  utimesSync(path('-rf/1-00000001'), then, then);
  expect(await prune({ artifactDays: 1, artifactsMb: 1 })).toMatchObject({ removed: 1, faults: [] });
  expect(readdirSync(path('a')).sort()).toEqual(['2-00000002', 'note']);
  expect(readdirSync(path('')).sort()).toEqual(['-rf', 'a', 'file', 'linked']);
  expect(existsSync(path('-rf/1-00000001'))).toBe(true);
  expect(readFileSync(join(outside, '1-00000001', 'file'), 'utf8')).toBe('precious');
});

test('a link in the place of the whole folder is left alone, and so is a state folder without one', async () => {
  const outside = setting();
  outside.attempt('a/1-00000001', 99);
  const home = join(tempFolder('prune'), 'home');
  mkdirSync(home);
  expect(await outside.prune({ home, artifactDays: 1 })).toEqual({ removed: 0, leftBytes: 0, faults: [] });
  symlinkSync(outside.path(''), join(home, 'artifacts'));
  expect(await outside.prune({ home, artifactDays: 1 })).toEqual({ removed: 0, leftBytes: 0, faults: [] });
  expect(outside.left()).toEqual(['a/1-00000001']);
});

test('once it is aborted nothing more is removed', async () => {
  const { attempt, prune, left } = setting();
  attempt('a/1-00000001', 99);
  expect(await prune({ artifactDays: 1, signal: AbortSignal.abort() })).toMatchObject({ removed: 0 });
  expect(left()).toHaveLength(1);
});
