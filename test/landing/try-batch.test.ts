/**
 * Who lands and who is refused. The ground is a stand-in: which branches contradict one another and which of them are
 * red together is what these tests choose. Real git and real commands are in ground.test.ts.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Candidate, type Ground, type Stacked, tryBatch } from '../../src/landing/try-batch.ts';

interface World {
  /** Pairs that contradict each other; `tip` is the target. */
  conflicts?: [string, string][];
  /** Red with all of one of these, or without anything for `[]`. */
  red?: string[][];
  /** Commits whose first run fails although nothing is wrong with them. */
  flaky?: string[];
}

const commitOf = ({ candidates }: Stacked) => ['tip', ...candidates.map(({ taskId }) => taskId)].join('+');
const candidate = (taskId: string): Candidate => ({ taskId, commit: `commit-${taskId}` });

function ground({ conflicts = [], red = [], flaky = [] }: World) {
  const judged: string[] = [];
  const isRed = (commit: string) => red.some(all => all.every(one => commit.split('+').includes(one)));
  const made: Ground = {
    async stack(below, one) {
      const there = commitOf(below).split('+');
      const clash = conflicts.some(pair => pair.includes(one.taskId) && there.some(other => pair.includes(other)));
      if (clash) return { conflicts: [`${one.taskId}.txt`] };
      return { commit: commitOf({ ...below, candidates: [...below.candidates, one] }) };
    },
    async judge({ commit }) {
      judged.push(commit);
      const passed =
        !isRed(commit) && !(flaky.includes(commit) && judged.filter(other => other === commit).length === 1);
      return { passed, tail: passed ? '' : `red: ${commit}` };
    },
  };
  return { made, judged, isRed };
}

async function outcome(world: World, ...ids: string[]) {
  const { made, judged } = ground(world);
  const trial = await tryBatch(made, 'tip', ids.map(candidate));
  const fates = ids.map(id => `${id} ${trial.fates.get(id)?.kind}`).join(', ');
  return { ...trial, fates, judged, landing: trial.landing?.commit ?? null };
}

describe('a batch', () => {
  test('that is green lands as a whole, by one run of the tests', async () => {
    const found = await outcome({}, 'a', 'b', 'c');
    expect(found).toMatchObject({ fates: 'a lands, b lands, c lands', landing: 'tip+a+b+c', runs: 1, flaky: [] });
    expect(found.judged).toEqual(['tip+a+b+c']);
  });

  test('of none lands nothing and runs nothing', async () => {
    expect(await outcome({})).toMatchObject({ landing: null, runs: 0 });
  });

  test('with one red branch refuses that one, lands those before it and leaves those behind it for the next', async () => {
    const found = await outcome({ red: [['c']] }, 'a', 'b', 'c', 'd', 'e');
    expect(found.fates).toBe('a lands, b lands, c red, d later, e later');
    expect(found).toMatchObject({ landing: 'tip+a+b', redTip: null });
  });

  test('that is red only in combination refuses the one with which it becomes so', async () => {
    const found = await outcome({ red: [['a', 'c']] }, 'a', 'b', 'c');
    expect(found).toMatchObject({ fates: 'a lands, b lands, c red', landing: 'tip+a+b' });
  });

  test('with one that contradicts the target refuses that one with its paths, and lands the others', async () => {
    const { made } = ground({ conflicts: [['b', 'tip']] });
    const trial = await tryBatch(made, 'tip', ['a', 'b', 'c'].map(candidate));
    expect(trial.fates.get('b')).toEqual({ kind: 'conflict', paths: ['b.txt'] });
    expect(trial.landing?.commit).toBe('tip+a+c');
  });

  test('leaves one that contradicts another of the batch for the next', async () => {
    const found = await outcome({ conflicts: [['a', 'b']] }, 'a', 'b', 'c');
    expect(found).toMatchObject({ fates: 'a lands, b later, c lands', landing: 'tip+a+c' });
  });

  test('on a target that is red itself refuses nobody, and lands nothing', async () => {
    const found = await outcome({ red: [['tip']] }, 'a', 'b', 'c');
    expect(found).toMatchObject({ fates: 'a later, b later, c later', landing: null, redTip: 'red: tip' });
  });

  test('gives a red run a second one, and tells of the state that was green then', async () => {
    const found = await outcome({ flaky: ['tip+a+b'] }, 'a', 'b');
    expect(found).toMatchObject({ fates: 'a lands, b lands', landing: 'tip+a+b', flaky: ['b'], runs: 2 });
  });
});

test('whatever the branches are like: each has one fate, only what was judged green lands, only the guilty are refused, and the runs grow with the logarithm', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'];
  const some = fc.subarray(names, { minLength: 1, maxLength: 3 });
  const pair = fc.tuple(fc.constantFrom(...names), fc.constantFrom('tip', ...names)).filter(([x, y]) => x !== y);
  const world = fc.record({ conflicts: fc.array(pair, { maxLength: 4 }), red: fc.array(some, { maxLength: 3 }) });
  await fc.assert(
    fc.asyncProperty(world, fc.shuffledSubarray(names), async (given, ids) => {
      const { made, judged, isRed } = ground(given as World);
      const { fates, landing, redTip, runs } = await tryBatch(made, 'tip', ids.map(candidate));
      expect([...fates.keys()].sort()).toEqual([...ids].sort());
      expect(redTip).toBeNull();
      const landed = ids.filter(id => fates.get(id)?.kind === 'lands');
      expect(landing?.commit ?? 'tip').toBe(['tip', ...landed].join('+'));
      if (landing !== null) expect(judged.includes(landing.commit) && !isRed(landing.commit)).toBe(true);
      for (const id of ids) {
        const fate = fates.get(id);
        if (fate?.kind === 'red') expect(isRed(['tip', ...landed, id].join('+'))).toBe(true);
        if (fate?.kind === 'conflict') {
          expect(given.conflicts.some(two => two.includes(id) && two.includes('tip'))).toBe(true);
        }
      }
      expect(ids.filter(id => fates.get(id)?.kind === 'red').length).toBeLessThanOrEqual(1);
      // Progress: somebody lands or is refused, unless there is nobody.
      if (ids.length > 0) expect([...fates.values()].some(({ kind }) => kind !== 'later')).toBe(true);
      // Each red run counts twice; one more for the bare tip.
      expect(runs).toBeLessThanOrEqual(2 * (2 + Math.ceil(Math.log2(Math.max(1, ids.length)))) + 2);
    }),
  );
});
