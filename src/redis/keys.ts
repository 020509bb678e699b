/** The names of all keys cellpool keeps in Redis, apart from BullMQ's own. */
import { InvalidInput } from '../errors.ts';

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
}

/** The keys of one host's cells. */
export function cellKeys(prefix: string, host: string): CellKeys {
  const base = `${checked(prefix, 'prefix')}:cells:{${checked(host, 'host')}}`;
  return { records: `${base}:records`, beats: `${base}:beats`, reaper: `${base}:reaper` };
}

function checked(value: string, where: string): string {
  if (/^[^\s{}\p{Cc}]{1,255}$/u.test(value)) return value;
  throw new InvalidInput([
    { where, what: `must be 1 to 255 characters without spaces or braces: ${JSON.stringify(value)}` },
  ]);
}
