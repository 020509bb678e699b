/**
 * Which of several finished branches may land together. They are put on the target's tip one after another, and the last
 * of these states is judged: when it is green, so is what lands. When it is red, halving finds the first branch with which
 * it becomes so: those before it land, it alone is refused, and those behind it come next time.
 *
 * Every state is the very commit that would land, and nothing lands that was not judged to be green.
 */

export interface Candidate {
  taskId: string;
  /** Full id of the commit at the tip of the task's branch. */
  commit: string;
}

/** What the test command said of a state. */
export interface Judgement {
  passed: boolean;
  /** The end of what it printed. */
  tail: string;
}

/** Where states are made and judged. */
export interface Ground {
  /**
   * The state of the target with all of `candidates`: those of `below`, which was made by this, and one more.
   * @returns its commit; or the paths in which the last one contradicts the others
   */
  stack(below: Stacked, candidate: Candidate): Promise<{ commit: string } | { conflicts: string[] }>;
  judge(state: Stacked): Promise<Judgement>;
}

/** The target's tip with some candidates, in their order. */
export interface Stacked {
  /** The tip itself while there are none. */
  commit: string;
  tip: string;
  candidates: readonly Candidate[];
}

export type Fate =
  | { kind: 'lands' }
  /** Refused: it contradicts the tip, in these paths. */
  | { kind: 'conflict'; paths: string[] }
  /** Refused: with it the tests fail, and they did not without it. */
  | { kind: 'red'; tail: string }
  /** Not decided: what comes before it lands, or is refused, first. */
  | { kind: 'later' };

export interface Trial {
  /** By task id, one for every candidate. */
  fates: Map<string, Fate>;
  /** What the target is to become; null: nothing lands. */
  landing: Stacked | null;
  /** The tests fail on the target's tip itself, and this is what they printed: nobody can land, and nobody is refused. */
  redTip: string | null;
  /** States of which the tests said first that they are red and then that they are green, by the last task in each. */
  flaky: string[];
  /** How often the test command ran. */
  runs: number;
}

/** Each task's candidate may be there once. What `ground` throws is thrown; nothing has been decided then. */
export async function tryBatch(ground: Ground, tip: string, candidates: readonly Candidate[]): Promise<Trial> {
  const trial: Trial = { fates: new Map(), landing: null, redTip: null, flaky: [], runs: 0 };
  const states = await stackAll(ground, tip, candidates, trial.fates);
  const [bare] = states;
  if (bare === undefined || states.length === 1) return trial;
  const judge = judgeOn(ground, trial);

  // Everything up to `green` is known to be good, `red` is known not to be.
  let green = 0;
  let red = states.length;
  let tail = '';
  for (let at = states.length - 1; green < at && at < red; at = (green + red) >> 1) {
    const { passed, tail: said } = await judge(states[at] as Stacked);
    if (passed) green = at;
    else [red, tail] = [at, said];
  }
  if (green === 0) {
    // The first one would be blamed for what the target is itself.
    const { passed, tail: said } = await judge(bare);
    if (!passed) {
      for (const { taskId } of last(states).candidates) trial.fates.set(taskId, { kind: 'later' });
      return { ...trial, redTip: said };
    }
  }
  for (const [at, { taskId }] of last(states).candidates.entries()) {
    const fate: Fate = at < green ? { kind: 'lands' } : at === red - 1 ? { kind: 'red', tail } : { kind: 'later' };
    trial.fates.set(taskId, fate);
  }
  return { ...trial, landing: green === 0 ? null : (states[green] as Stacked) };
}

/** The bare tip and all states above it; the fates of those that do not fit onto it. */
async function stackAll(
  ground: Ground,
  tip: string,
  candidates: readonly Candidate[],
  fates: Map<string, Fate>,
): Promise<Stacked[]> {
  const bare: Stacked = { commit: tip, tip, candidates: [] };
  const states = [bare];
  for (const candidate of candidates) {
    const below = last(states);
    const made = await ground.stack(below, candidate);
    if ('commit' in made) {
      states.push({ commit: made.commit, tip, candidates: [...below.candidates, candidate] });
      continue;
    }
    // Against one that is before it in the batch, it is decided when that one has landed or not.
    const alone = below === bare ? made : await ground.stack(bare, candidate);
    const isRefused = 'conflicts' in alone;
    fates.set(candidate.taskId, isRefused ? { kind: 'conflict', paths: alone.conflicts } : { kind: 'later' });
  }
  return states;
}

/** A test that fails gets a second run: one that passes then is no reason to refuse anybody, but is told. */
function judgeOn(ground: Ground, trial: Trial): (state: Stacked) => Promise<Judgement> {
  return async state => {
    trial.runs += 1;
    const first = await ground.judge(state);
    if (first.passed) return first;
    trial.runs += 1;
    const second = await ground.judge(state);
    if (second.passed) trial.flaky.push(state.candidates.at(-1)?.taskId ?? '');
    return second;
  };
}

const last = (states: readonly Stacked[]): Stacked => states.at(-1) as Stacked;
