import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cycleInWords, orderByDependencies } from '../../src/job/dependency-order.ts';

const NODES = 7;

/** Graphs of few ids, so that many of them have cycles, with dependencies that are no keys, and on itself. */
const graphs = fc
  .uniqueArray(fc.nat(NODES), { minLength: 1 })
  .chain(ids =>
    fc.tuple(...ids.map(id => fc.tuple(fc.constant(`t${id}`), fc.uniqueArray(fc.nat(NODES), { maxLength: 2 })))),
  )
  .map(entries => new Map<string, string[]>(entries.map(([id, deps]) => [id, deps.map(one => `t${one}`)])));

/** Whoever can be reached from whom, found without a thought: by trying all ways. */
function reaches(graph: ReadonlyMap<string, readonly string[]>, from: string, to: string, steps = graph.size): boolean {
  if (steps === 0) return false;
  return (graph.get(from) ?? []).some(next => next === to || reaches(graph, next, to, steps - 1));
}

test('finds a cycle if there is one, and each that it names is one', () => {
  let withCycle = 0;
  fc.assert(
    fc.property(graphs, graph => {
      const { cycles } = orderByDependencies(graph);
      const isCyclic = [...graph.keys()].some(id => reaches(graph, id, id));
      expect(cycles.length > 0).toBe(isCyclic);
      if (isCyclic) withCycle += 1;
      for (const cycle of cycles) {
        expect(new Set(cycle).size).toBe(cycle.length);
        for (const [index, id] of cycle.entries()) {
          expect(graph.get(id)).toContain(cycle[(index + 1) % cycle.length]);
        }
      }
    }),
    { numRuns: 1_000 },
  );
  // Otherwise little was tried.
  expect(withCycle).toBeGreaterThan(100);
  expect(withCycle).toBeLessThan(900);
});

test('orders all keys, each after what it depends on, and leaves alone what is in order', () => {
  fc.assert(
    fc.property(graphs, graph => {
      const { order, cycles } = orderByDependencies(graph);
      expect([...order].sort()).toEqual([...graph.keys()].sort());
      if (cycles.length > 0) return;
      for (const [id, dependencies] of graph) {
        for (const one of dependencies.filter(dependency => graph.has(dependency))) {
          expect(order.indexOf(one)).toBeLessThan(order.indexOf(id));
        }
      }
      const again = new Map(order.map(id => [id, graph.get(id) ?? []]));
      expect(orderByDependencies(again).order).toEqual(order);
    }),
    { numRuns: 500 },
  );
});

test('a hundred thousand tasks in one chain, in the wrong order, and a cycle through all of them', () => {
  const ids = Array.from({ length: 100_000 }, (_, index) => `t${index}`);
  const chain = new Map(ids.map((id, index) => [id, index + 1 < ids.length ? [`t${index + 1}`] : []]));
  expect(orderByDependencies(chain).order.slice(0, 2)).toEqual(['t99999', 't99998']);
  const { cycles } = orderByDependencies(chain.set('t99999', ['t0']));
  expect(cycles.map(({ length }) => length)).toEqual([100_000]);
});

test('a cycle is said in words, and of a long one its beginning', () => {
  expect(cycleInWords(['a'])).toBe('a -> a');
  expect(cycleInWords(['a', 'b'])).toBe('a -> b -> a');
  const long = Array.from({ length: 30 }, (_, index) => `t${index}`);
  expect(cycleInWords(long)).toBe(`${long.slice(0, 10).join(' -> ')} -> (20 more) -> t0`);
});
