/**
 * What is told of a pool, the same on the live page, in the terminal and in scripts. Times are epoch ms, sizes bytes.
 * All of it comes from a Redis that anybody may write to, so texts are hostile until they are rendered.
 */

import type { Fate } from '../../job/fate.ts';
import type { AttemptResult, Outcome } from '../../job/outcome.ts';
import type { IsolationLevel } from '../../os/isolation.ts';
import type { CellStage } from '../../redis/cell-record.ts';
import type { TargetNote } from '../../redis/landing-targets.ts';

export interface CellFacts {
  cellId: string;
  host: string;
  workerId: string;
  /** null: it was made ahead, and waits for a task, or a lander runs tests in it. */
  taskId: string | null;
  title: string | null;
  repository: string;
  attempt: number;
  stage: CellStage;
  startedAt: number;
  tokensUsed: number;
  /** null when its job is not there any more. */
  tokenBudget: number | null;
  model: string | null;
  /** All its processes together, as its worker last saw it; null when nobody has looked yet. */
  memoryBytes: number | null;
  port: number | null;
  isolation: IsolationLevel;
  /** Folder on its host where its logs, and later all of its artifacts are. */
  artifacts: string;
  /** Of its worker; null without one. */
  lastSignAt: number | null;
  /** Its worker could not remove all of it; the reaper may. */
  abandoned: boolean;
}

export interface WorkerFacts {
  id: string;
  host: string;
  pid: number;
  startedAt: number;
  lastSignAt: number;
  concurrency: number;
  running: number;
  /** Folders of ended cells that it has not removed yet. */
  removing: number;
  draining: boolean;
}

export interface QueueFacts {
  name: string;
  paused: boolean;
  /** Those with a priority included. */
  waiting: number;
  running: number;
  /** Wait for their next attempt, for others, for a provider or for a budget. */
  delayed: number;
  completed: number;
  failed: number;
}

export interface CooldownFacts {
  name: string;
  kind: 'busy' | 'refused';
  reason: string;
  until: number;
}

/** How many attempts came to which outcome in the hour that begins at `from`. */
export interface HourFacts {
  from: number;
  outcomes: Partial<Record<Outcome, number>>;
  tokens: number;
  costUsd: number;
}

/** A task that has ended. */
export interface EndedFacts {
  taskId: string;
  title: string | null;
  repository: string;
  endedAt: number;
  /** Whether its job failed, whatever can be read of its end. */
  failed: boolean;
  /** Of its last attempt; null where a job ended without one that can be read. */
  result: AttemptResult | null;
}

/** Where a finished branch is on its way; `unknown` where it came to its end and nobody wrote down to which. */
export type LandingState = 'waiting' | 'trying' | Fate['kind'] | 'unknown';

/** A finished branch that is to land, or was. */
export interface LandingFacts {
  /** Of its job: a task has another one for each commit. */
  landingId: string;
  taskId: string;
  title: string | null;
  repository: string;
  /** The branch it is to land on. */
  target: string;
  branch: string;
  commit: string;
  state: LandingState;
  queuedAt: number;
  /** null while it has not come to its fate. */
  endedAt: number | null;
  /** Why nothing lands on its target for now; null: nothing is in the way, or it needs it no more. */
  held: TargetNote['held'];
  /** null as long as it has none. */
  fate: Fate | null;
  /** Of work that came back: its task has ended since without a commit. Told with the task; left out: it has not. */
  isFruitless?: boolean;
  /** What its job is instead of one of ours; the other fields say little then. */
  fault: string | null;
}

/** The landings of a pool at one moment. */
export interface PoolLandings {
  queue: QueueFacts;
  /** What landers are at just now, by repository and target. */
  targets: TargetNote[];
  /** The first of those being tried, and then of those in line; in this order. */
  underWay: LandingFacts[];
  /** Latest first. */
  ended: LandingFacts[];
}

/** The pool at one moment. */
export interface PoolFacts {
  at: number;
  prefix: string;
  /** On which tasks stand. */
  queues: QueueFacts[];
  landings: PoolLandings;
  workers: WorkerFacts[];
  /** By host, then by start. */
  cells: CellFacts[];
  cooldowns: CooldownFacts[];
  /** Oldest first; hours without an attempt are there too. */
  hours: HourFacts[];
  /** Latest first. */
  latest: EndedFacts[];
}

export type TaskState = 'waiting' | 'delayed' | 'running' | 'completed' | 'failed' | 'unknown';

/** A task in a list. */
export interface TaskFacts {
  taskId: string;
  title: string | null;
  repository: string;
  state: TaskState;
  /** Attempts begun that counted. */
  attempt: number;
  attempts: number;
  /** How the last attempt of its present round ended; null before one has. */
  outcome: Outcome | null;
  enqueuedAt: number;
  endedAt: number | null;
  /** Why it waits, for people; null when it simply has its turn to come. */
  waitsFor: string | null;
  /** What its job is instead of one of ours; the other fields say little then. */
  fault: string | null;
}

/** All of one task. */
export interface TaskDetail extends TaskFacts {
  prompt: string;
  base: string;
  test: string | null;
  setup: string | null;
  model: string | null;
  /** Of the agent in one attempt, in ms. */
  timeoutMs: number;
  tokenBudget: number;
  dependsOn: string[];
  /** How and where its branch is to land; null: it stays. */
  lands: { how: 'merge' | 'push'; target: string } | null;
  /** What became of what its attempts committed, oldest first; of each commit that was to land and is not forgotten. */
  landings: LandingFacts[];
  tokensUsed: number;
  /** The cell that works on it; null when none does. */
  cell: CellFacts | null;
  /** One result for every attempt that has ended, oldest first. */
  results: AttemptResult[];
  /** Lines of the job's own log. */
  log: string[];
}
