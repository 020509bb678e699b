/** Every default and limit of the settings, with its unit. */
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** No worker runs more cells than this, whatever it is asked. */
export const CONCURRENCY_CAP = 50;

export const DEFAULTS = {
  prefix: 'cellpool',
  ports: { from: 9000, to: 9999 },
  timeoutMs: 30 * MINUTE,
  tokenBudget: 50_000,
  attempts: 3,
  bootMs: 60 * SECOND,
  setupMs: 10 * MINUTE,
  testMs: 10 * MINUTE,
  hookMs: MINUTE,
  stallMs: 5 * MINUTE,
  loopRepeats: 5,
  graceMs: 30 * SECOND,
  reserve: { memoryMb: 512, diskMb: 1024 },
  retention: { artifactDays: 30, artifactsMb: 10_240, jobDays: 30, jobs: 10_000 },
  /** Of one cell; a server takes 300 to 600 MiB, compilers and test runners far more. */
  limits: { memoryMb: 4096, pids: 1024, cpus: null, diskMb: 10_240 },
  landing: { remote: 'origin', batch: 5, returns: 2 },
  author: { name: 'cellpool', email: 'cellpool@localhost' },
} as const;

export const LIMITS = {
  /** Longest time limit: JavaScript timers overflow at 24.8 days, and nobody watches an agent for a day. */
  timeoutMs: 24 * HOUR,
  attempts: 100,
  loopRepeats: 1_000,
  /** Candidates tested together; of more, halving would hardly ever find the red one in time. */
  batch: 50,
  returns: 20,
} as const;
