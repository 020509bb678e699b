/** The names of all keys cellpool keeps in Redis; BullMQ's own stand under `<prefix>:tasks:`. */
import { InvalidInput } from '../errors.ts';
import { jobIdOf, TASK_QUEUE, taskIdFault } from '../job/names.ts';

/** All keys start with this and a colon. Tests use a prefix of their own. */
export const DEFAULT_PREFIX = 'cellpool';

export interface PortKeys {
  /** Sorted set: port -> epoch µs from which it may be leased. */
  readonly free: string;
  /** Sorted set: port -> epoch ms at which its lease expires. */
  readonly leased: string;
  /** Hash: port -> `<token>:<owner>` of the lease. */
  readonly owner: string;
  /** The last token given out, in decimal. */
  readonly fence: string;
  /** Set: the ranges, written `from-to`, whose ports were entered already. */
  readonly ranges: string;
}

/**
 * The keys of one host's port leases. The braces keep them in one slot of a Redis Cluster, so that one script may
 * touch them all. Throws `InvalidInput` for a prefix or host that would break that.
 */
export function portKeys(prefix: string, host: string): PortKeys {
  const base = `${checked(prefix, 'prefix')}:ports:{${checked(host, 'host')}}`;
  return {
    free: `${base}:free`,
    leased: `${base}:leased`,
    owner: `${base}:owner`,
    fence: `${base}:fence`,
    ranges: `${base}:ranges`,
  };
}

export interface CellKeys {
  /** Hash: cell id -> its record as JSON. */
  readonly records: string;
  /** Hash: cell id -> epoch ms at which its worker last said that it has it. */
  readonly beats: string;
  /** String: the reaper that works on this host's cells just now; expires. */
  readonly reaper: string;
  /** Hash: cell id -> bytes of memory that it takes. */
  readonly memory: string;
}

/** The keys of one host's cells. */
export function cellKeys(prefix: string, host: string): CellKeys {
  const base = `${checked(prefix, 'prefix')}:cells:{${checked(host, 'host')}}`;
  return {
    records: `${base}:records`,
    beats: `${base}:beats`,
    reaper: `${base}:reaper`,
    memory: `${base}:memory`,
  };
}

/** Sorted set: every host that may have cells -> epoch ms at which one of its workers last said so. */
export function hostsKey(prefix: string): string {
  return `${checked(prefix, 'prefix')}:hosts`;
}

export interface TaskKeys {
  /** Hash: the last number given to an attempt of the task, and how many in a row have not ended. */
  readonly fence: string;
  /** When the task that is cancelled was put on the queue, epoch ms. */
  readonly cancel: string;
  /** BullMQ's own: the token of the worker that has the job. */
  readonly lock: string;
  /** BullMQ's own hash of the job. */
  readonly job: string;
  /** How the task ended, for those that depend on it; empty as long as it has not. Nobody depends: no key. Expires. */
  readonly outcome: string;
  /** Sorted set: task ids that wait for the end of this one -> epoch µs since when; expires. */
  readonly dependents: string;
}

/** The keys that stand beside a task's job. Throws `InvalidInput` for what cannot be a task id. */
export function taskKeys(prefix: string, taskId: string): TaskKeys {
  const base = checked(prefix, 'prefix');
  const fault = taskIdFault(taskId);
  if (fault !== null) throw new InvalidInput([{ where: 'task id', what: fault }]);
  return {
    fence: `${base}:fence:${taskId}`,
    cancel: `${base}:cancel:${taskId}`,
    lock: `${base}:${TASK_QUEUE}:${jobIdOf(taskId)}:lock`,
    job: `${base}:${TASK_QUEUE}:${jobIdOf(taskId)}`,
    outcome: `${base}:outcome:${taskId}`,
    dependents: `${base}:dependents:${taskId}`,
  };
}

/** BullMQ's own sorted sets of the jobs that have ended. */
export function endedKeys(prefix: string): { readonly completed: string; readonly failed: string } {
  const base = `${checked(prefix, 'prefix')}:${TASK_QUEUE}`;
  return { completed: `${base}:completed`, failed: `${base}:failed` };
}

/** The channel on which running workers are told what to do. */
export function controlChannel(prefix: string): string {
  return `${checked(prefix, 'prefix')}:control`;
}

export interface WorkerKeys {
  /** Hash: worker id -> its entry as JSON. */
  readonly entries: string;
  /** Sorted set: worker id -> epoch ms of its last sign of life. */
  readonly beats: string;
  /** Sorted set: worker id -> epoch ms at which it was asked to drain. */
  readonly drains: string;
}

/** The keys of all workers of all hosts. */
export function workerKeys(prefix: string): WorkerKeys {
  const base = `${checked(prefix, 'prefix')}:workers`;
  return { entries: base, beats: `${base}:beats`, drains: `${base}:drains` };
}

export interface CooldownKeys {
  /** Hash: the cool-down. */
  readonly cooldown: string;
  /** Set: the names of all that may have one. */
  readonly names: string;
}

/** The keys of the cool-down of a provider, or of one of its models (`provider/model`). */
export function cooldownKeys(prefix: string, name = ''): CooldownKeys {
  const base = checked(prefix, 'prefix');
  return { cooldown: `${base}:cooldown:${name}`, names: `${base}:cooldowns` };
}

export interface BudgetKeys {
  /** Hash: the limits that are set. */
  readonly limits: string;
  /** Hash: what was used, of the day and of the fleet. */
  readonly used: string;
  /** String: what of an attempt's use was counted already; expires. */
  readonly counted: string;
}

/** The keys of the budgets; of one attempt's share in them when it is named. Throws `InvalidInput` for a bad task id. */
export function budgetKeys(prefix: string, attempt = { taskId: 'none', number: '' }): BudgetKeys {
  const base = `${checked(prefix, 'prefix')}:budget`;
  const fault = taskIdFault(attempt.taskId);
  if (fault !== null) throw new InvalidInput([{ where: 'task id', what: fault }]);
  return { limits: base, used: `${base}:used`, counted: `${base}:counted:${attempt.taskId}:${attempt.number}` };
}

export interface TallyKeys {
  /** Hash: what was counted since the first time. */
  readonly totals: string;
  /** With the hours since 1970 behind it, a hash: what was counted in that hour; expires. */
  readonly hours: string;
  /** With a name behind it, a string: that this was counted; expires. */
  readonly counted: string;
}

/** The keys of the tally. The braces keep them in one slot of a Redis Cluster. */
export function tallyKeys(prefix: string): TallyKeys {
  const base = `${checked(prefix, 'prefix')}:{tally}`;
  return { totals: `${base}:totals`, hours: `${base}:hour:`, counted: `${base}:counted:` };
}

export interface DiskKeys {
  /** Hash: host -> what its state folder takes, as JSON. */
  readonly uses: string;
  /** With what stands for a state folder behind it, a string: that somebody measures it; expires. */
  readonly turn: string;
}

/** The keys of the disk use of all hosts. */
export function diskKeys(prefix: string): DiskKeys {
  const base = `${checked(prefix, 'prefix')}:disk`;
  return { uses: base, turn: `${base}:turn:` };
}

export interface LandingKeys {
  /** Hash: mark of a target -> what its lander is at, as JSON. */
  readonly targets: string;
  /** With the mark of a target behind it, a string: the number of the lander that has it; expires. */
  readonly lease: string;
  /** The last number given to a lander, in decimal. */
  readonly fence: string;
}

/** The keys of the landers. BullMQ's own of the landing queue stand under `<prefix>:landing:`, so these do not. */
export function landingKeys(prefix: string): LandingKeys {
  const base = `${checked(prefix, 'prefix')}:landers`;
  return { targets: `${base}:targets`, lease: `${base}:lease:`, fence: `${base}:fence` };
}

/** String: a short name of this pool among others. */
export function poolKey(prefix: string): string {
  return `${checked(prefix, 'prefix')}:pool`;
}

export interface SourceKeys {
  /** Hash: what is known of one item, its generation, its task, and which notes were made of it. */
  item(name: string): string;
  /** Set: names of the items whose tasks may still have news. */
  readonly live: string;
  /** Sorted set: names of the last items that are done with -> epoch ms. */
  readonly recent: string;
  /** List: notes to be written back, as JSON, oldest first. */
  readonly outbox: string;
  /** String: the bridge that writes back just now; expires. */
  readonly turn: string;
}

/** The keys of one task source; `mark` tells it from others. Throws `InvalidInput` for an item that is no task id. */
export function sourceKeys(prefix: string, mark: string): SourceKeys {
  const base = `${checked(prefix, 'prefix')}:source:{${checked(mark, 'source')}}`;
  return {
    item: name => {
      const fault = taskIdFault(name);
      if (fault !== null) throw new InvalidInput([{ where: 'item', what: fault }]);
      return `${base}:item:${name}`;
    },
    live: `${base}:live`,
    recent: `${base}:recent`,
    outbox: `${base}:outbox`,
    turn: `${base}:turn`,
  };
}

/** @throws {InvalidInput} for what cannot be part of a key */
export function checked(value: string, where: string): string {
  if (/^[^\s{}\p{Cc}]{1,255}$/u.test(value)) return value;
  // What stands first in braces decides the slot in a Redis Cluster: so all keys of the prefix share one.
  if (where === 'prefix' && /^\{[^\s{}\p{Cc}]{1,255}\}$/u.test(value)) return value;
  throw new InvalidInput([
    { where, what: `must be 1 to 255 characters without spaces or braces: ${JSON.stringify(value)}` },
  ]);
}
