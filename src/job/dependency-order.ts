/** The order in which tasks can be worked that depend on each other, and the circles that keep some from it. */

/** Id -> the ids it depends on. Ids that are no keys are dependencies that are not asked about. */
export type DependencyGraph = ReadonlyMap<string, readonly string[]>;

export interface DependencyOrder {
  /** All keys of the graph, each after those that it depends on, and otherwise as they stood. */
  order: string[];
  /** Each as `[a, b]` for `a -> b -> a`. Not all there are, but some if there is any. */
  cycles: string[][];
}

/** Who has mended so many is told of the others then; telling all of them could take for ever. */
const CYCLES_MAX = 20;

interface Step {
  id: string;
  /** How many of its dependencies were looked at. */
  next: number;
}

/** Takes a time that grows with tasks and dependencies alone, and no more stack for a long chain. */
export function orderByDependencies(graph: DependencyGraph): DependencyOrder {
  const order: string[] = [];
  const cycles: string[][] = [];
  const done = new Set<string>();
  const inCycle = new Set<string>();
  for (const first of graph.keys()) {
    if (done.has(first)) continue;
    const path: Step[] = [{ id: first, next: 0 }];
    const onPath = new Map([[first, 0]]);
    for (let step = path.at(-1); step !== undefined; step = path.at(-1)) {
      const dependency = graph.get(step.id)?.[step.next];
      step.next += 1;
      if (dependency === undefined) {
        path.pop();
        onPath.delete(step.id);
        done.add(step.id);
        order.push(step.id);
        continue;
      }
      const begun = onPath.get(dependency);
      if (begun !== undefined && cycles.length < CYCLES_MAX && !inCycle.has(dependency)) {
        const cycle = path.slice(begun).map(({ id }) => id);
        cycles.push(cycle);
        for (const id of cycle) inCycle.add(id);
      }
      if (begun !== undefined || done.has(dependency) || !graph.has(dependency)) continue;
      onPath.set(dependency, path.length);
      path.push({ id: dependency, next: 0 });
    }
  }
  return { order, cycles };
}

/** Names in a cycle that are told; the rest is counted. */
const NAMES_MAX = 10;

/** `a -> b -> a`. */
export function cycleInWords(cycle: readonly string[]): string {
  const left = cycle.length - NAMES_MAX;
  const names = left <= 1 ? [...cycle] : [...cycle.slice(0, NAMES_MAX), `(${left} more)`];
  return [...names, cycle[0]].join(' -> ');
}
