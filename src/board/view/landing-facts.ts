/**
 * The landings of a pool: those that are being tried, those in line by target, and the ended ones, latest first. Only
 * the jobs that are told of are read.
 */
import { type LandingJob, landingIdOf, taskOfLanding, trialMarkOf } from '../../job/landing.ts';
import type { AttemptResult } from '../../job/outcome.ts';
import { readLandings, type StoredLanding } from '../../job/stored-landing.ts';
import { isNoteOf, LandingTargets, type TargetNote } from '../../redis/landing-targets.ts';
import type { ViewContext } from './context.ts';
import type { LandingFacts, LandingState, PoolLandings } from './facts.ts';
import { type LandingPlace, landingPlaces } from './landing-places.ts';
import { readQueue } from './queue-facts.ts';

export interface LandingListOptions {
  /** Only those of these tasks; left out: all. */
  taskIds?: readonly string[];
  /** How many of the ended ones. */
  ended: number;
}

/** Jobs that are read at once; each holds what its repository says of its tests. */
const AT_ONCE = 500;

/** `isMore`: more have ended than that. @throws the error of Redis when it is away */
export async function listLandings(
  context: ViewContext,
  { taskIds, ended }: LandingListOptions,
): Promise<{ landings: LandingFacts[]; isMore: boolean }> {
  const wanted = taskIds === undefined ? null : new Set(taskIds);
  // One more than is told of tells whether there are more.
  const places = await landingPlaces(context, { wanted, live: null, ended: ended + 1 });
  const isOver = places.filter(({ state }) => state === 'unknown').length > ended;
  const told = isOver ? places.slice(0, -1) : places;
  const targets = await targetsOf(context);
  const landings: LandingFacts[] = [];
  for (let from = 0; from < told.length; from += AT_ONCE) {
    landings.push(...(await readPlaces(context, told.slice(from, from + AT_ONCE), targets)));
  }
  return { landings: inOrder(landings), isMore: isOver };
}

/** So many at most of those under way, and so many of the ended ones. @throws the error of Redis when it is away */
export async function readPoolLandings(context: ViewContext, count: number): Promise<PoolLandings> {
  const [queue, targets] = await Promise.all([readQueue(context.landing), targetsOf(context)]);
  if (count <= 0 || !isInUse({ queue, targets })) return { queue, targets, underWay: [], ended: [] };
  const places = await landingPlaces(context, { wanted: null, live: count, ended: count });
  const all = inOrder(await readPlaces(context, places, targets));
  const isLive = ({ state }: LandingFacts) => state === 'waiting' || state === 'trying';
  return { queue, targets, underWay: all.filter(isLive), ended: all.filter(one => !isLive(one)) };
}

/** Whether anything is to land or ever was, as far as it is not forgotten. Pools that land nothing hear nothing of it. */
export function isInUse({ queue, targets }: Pick<PoolLandings, 'queue' | 'targets'>): boolean {
  const { waiting, running, delayed, completed, failed } = queue;
  return targets.length > 0 || waiting + running + delayed + completed + failed > 0;
}

/** Of the commits of these attempts, in their order. @throws the error of Redis when it is away */
export async function readTaskLandings(
  context: ViewContext,
  results: readonly AttemptResult[],
): Promise<LandingFacts[]> {
  const ids = results.flatMap(({ taskId, commit }) => (commit === null ? [] : [landingIdOf({ taskId, commit })]));
  const unique = [...new Set(ids)];
  if (unique.length === 0) return [];
  const states = await Promise.all(unique.map(id => context.landing.getJobState(id)));
  const places = unique.map((id, at): LandingPlace => ({ id, state: STATES[states[at] ?? ''] ?? 'unknown' }));
  return readPlaces(context, places, await targetsOf(context));
}

const STATES: Readonly<Record<string, LandingPlace['state']>> = {
  active: 'trying',
  waiting: 'waiting',
  prioritized: 'waiting',
  delayed: 'waiting',
};

function targetsOf({ redis, prefix }: ViewContext): Promise<TargetNote[]> {
  return new LandingTargets(redis, { prefix }).list();
}

/** Those that are still there, in the same order. */
async function readPlaces(
  { redis, landing }: ViewContext,
  places: readonly LandingPlace[],
  targets: readonly TargetNote[],
): Promise<LandingFacts[]> {
  const stored = await readLandings(
    redis,
    landing,
    places.map(({ id }) => id),
  );
  return places.flatMap(({ state }, at) => {
    const one = stored[at];
    return one == null ? [] : [factsOf(one, state, targets)];
  });
}

function factsOf(stored: StoredLanding, found: LandingPlace['state'], targets: readonly TargetNote[]): LandingFacts {
  const { id, queuedAt, endedAt, data, fault } = stored;
  const fate = data?.fate ?? null;
  // A lander writes the fate first and moves the job then.
  const state: LandingState = fate?.kind ?? found;
  const isLive = state === 'waiting' || state === 'trying';
  return {
    landingId: id,
    taskId: data?.taskId ?? taskOfLanding(id) ?? id,
    title: data?.title ?? null,
    repository: data?.repository ?? '',
    target: data?.target ?? '',
    branch: data?.branch ?? '',
    commit: data?.commit ?? '',
    state,
    queuedAt,
    endedAt: isLive ? null : (endedAt ?? fate?.at ?? null),
    held: isLive && data !== null ? heldOf(targets, data) : null,
    fate,
    fault,
  };
}

/**
 * The same folder on several hosts may be several targets, and a lander may lack what others have: that nothing lands is
 * told as long as none of them is at it.
 */
function heldOf(targets: readonly TargetNote[], landing: LandingJob) {
  const trial = trialMarkOf(landing);
  const notes = targets.filter(note => isNoteOf(note, { ...landing, trial }));
  if (notes.some(({ trying }) => trying.length > 0)) return null;
  return notes.find(({ held }) => held !== null)?.held ?? null;
}

/** The targets on which nothing lands, each with what the first of its landers says; none that another one is at. */
export function heldTargets(targets: readonly TargetNote[]): TargetNote[] {
  const markOf = ({ trial, repository, target, land }: TargetNote) =>
    trial ?? JSON.stringify([repository, target, land]);
  const tried = new Set(targets.flatMap(note => (note.trying.length > 0 ? [markOf(note)] : [])));
  const held = targets.filter(note => note.held !== null && !tried.has(markOf(note)));
  return [...new Map(held.map(note => [markOf(note), note] as const).reverse()).values()].reverse();
}

const RANKS: Readonly<Partial<Record<LandingState, number>>> = { trying: 0, waiting: 1 };

/** Those in line stay as they come up, those of one target together. */
function inOrder(landings: readonly LandingFacts[]): LandingFacts[] {
  const rank = ({ state }: LandingFacts) => RANKS[state] ?? 2;
  const targets = new Map<string, number>();
  const nameOf = ({ repository, target }: LandingFacts) => `${target} ${repository}`;
  for (const one of landings) if (!targets.has(nameOf(one))) targets.set(nameOf(one), targets.size);
  const byTarget = (a: LandingFacts, b: LandingFacts) =>
    rank(a) === 2 ? 0 : (targets.get(nameOf(a)) ?? 0) - (targets.get(nameOf(b)) ?? 0);
  return [...landings].sort((a, b) => rank(a) - rank(b) || byTarget(a, b));
}
