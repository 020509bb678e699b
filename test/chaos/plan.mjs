/** The plan of a run: its tasks, and what breaks when. Pure: the same options give the same plan. */
import { randomOf } from './random.mjs';
import { makeTasks } from './tasks.mjs';

const SECOND = 1_000;

/** How often each fault stands in one deck. A run goes through the deck, freshly shuffled, once or several times. */
export const FAULTS = {
  /** SIGKILL to a worker's first process: its supervisor. */
  'kill-worker': 2,
  /** SIGKILL to the pool process under its supervisor. */
  'kill-pool': 2,
  /** SIGSTOP to a pool, SIGCONT before its locks run out. */
  'stop-short': 1,
  /** The same, so long that others have its jobs by then. */
  'stop-long': 1,
  /** SIGKILL to the opencode server of a cell. */
  'kill-server': 2,
  /** SIGKILL to Redis, started again before locks run out. */
  'redis-short': 1,
  /** The same, so long that locks run out. */
  'redis-long': 1,
  /** A stranger listens on the ports that would be leased next. */
  'foreign-ports': 2,
  /** The state folder of the second host is full. */
  'fill-disk': 1,
  'cancel-running': 2,
  'cancel-waiting': 2,
  /** SIGTERM to a worker, with a grace of 2 s. */
  terminate: 1,
  /** The model answers everybody 429. */
  burst: 1,
};

/** Milliseconds that a fault lasts; the others are over at once. */
const LASTS = {
  'stop-short': [1 * SECOND, 4 * SECOND],
  'stop-long': [12 * SECOND, 25 * SECOND],
  'redis-short': [1 * SECOND, 3 * SECOND],
  'redis-long': [15 * SECOND, 20 * SECOND],
  'foreign-ports': [10 * SECOND, 30 * SECOND],
  'fill-disk': [4 * SECOND, 10 * SECOND],
  burst: [2 * SECOND, 5 * SECOND],
};

const TASKS_PER_DECK = 75;
/** A task's share of the run, at two cores, in milliseconds: faults are spread over the time the tasks will take. */
const MS_PER_TASK = 4 * SECOND;
const FIRST_MS = 8 * SECOND;
/** So far the plan's clock may go ahead of the tasks: enough for faults to come upon each other, and upon the first task. */
const AHEAD_MS = 30 * SECOND;

/**
 * Up to where the plan's clock may go once a `part` (0 to 1) of the tasks has ended. Where a task takes longer than the
 * plan thinks, faults that came by the wall clock would end most attempts before they are done, and so the run itself.
 */
export function clockMayReach(plan, part) {
  return plan.spanMs * part + AHEAD_MS;
}

/** All times are those of the plan's clock, see `clock.mjs`. `pick` (0 up to 1) chooses among what is there when the fault comes: the third of five workers, say. */
export function makePlan({ seed, tasks, workers, concurrency }) {
  const faultRandom = randomOf(seed, 'faults');
  const taskRandom = randomOf(seed, 'tasks');
  const spanMs = Math.max(60 * SECOND, tasks * MS_PER_TASK);
  const deck = Object.entries(FAULTS).flatMap(([kind, times]) => Array(times).fill(kind));
  const decks = Math.max(1, Math.round(tasks / TASKS_PER_DECK));
  const kinds = Array.from({ length: decks }, () => faultRandom.shuffle(deck)).flat();
  const gapMs = spanMs / kinds.length;
  const faults = kinds.map((kind, at) => ({
    atMs: Math.round(FIRST_MS + gapMs * (at + faultRandom.next() * 0.9)),
    kind,
    pick: Number(faultRandom.next().toFixed(4)),
    lastsMs: LASTS[kind] === undefined ? 0 : faultRandom.between(...LASTS[kind]),
    /** Until a worker that this fault ended is started again. */
    restartMs: faultRandom.between(200, 2_000),
  }));
  return {
    seed,
    workers,
    concurrency,
    spanMs,
    /** When the second and third part of the tasks are enqueued; the first is at once. */
    batchesMs: [0, Math.round(spanMs * 0.2), Math.round(spanMs * 0.4)],
    tasks: makeTasks(taskRandom, tasks),
    faults,
  };
}
