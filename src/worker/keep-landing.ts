/** While a lander is at work on a target: lease and locks are renewed, and it hears when they may be somebody else's. */
import { utimes } from 'node:fs/promises';
import { CellpoolError } from '../errors.ts';
import type { LandingLease, LandingLeases } from '../redis/landing-lease.ts';
import type { LandingLine } from '../redis/landing-line.ts';

const KEEP_MS = 1_000;
/** Lease and locks may have run out soon after that. */
const SILENT_MS = 7_000;

interface KeptBy {
  line: LandingLine;
  leases: LandingLeases;
}

export interface KeptLanding {
  lease: LandingLease;
  token: string;
  folder: string;
  ids(): string[];
}

/** `ids`: of the jobs that are locked by `token`. The signal is aborted by `stop`, too. */
export function keepLanding({ line, leases }: KeptBy, { lease, token, folder, ids }: KeptLanding, stop: AbortSignal) {
  const over = new AbortController();
  const state = { lost: false, signal: AbortSignal.any([stop, over.signal]), end: () => clearInterval(timer) };
  let renewedAt = performance.now();
  let isRenewing = false;
  const lose = () => {
    state.lost = true;
    over.abort(new CellpoolError('FENCED', 'another lander may have the target by now'));
  };
  const renew = async () => {
    if (performance.now() - renewedAt >= SILENT_MS) lose();
    if (isRenewing) return;
    isRenewing = true;
    const askedAt = performance.now();
    try {
      const [isOurs, areOurs] = await Promise.all([leases.renew(lease), line.renew(ids(), token)]);
      if (isOurs && areOurs) renewedAt = askedAt;
      else lose();
      // What nobody has touched for long is taken for a dead one's.
      await utimes(folder, new Date(), new Date());
    } catch {
      // Redis is away: tried again, until the silence itself ends it. A folder that is not there yet is no matter.
    } finally {
      isRenewing = false;
    }
  };
  const timer = setInterval(() => void renew(), KEEP_MS).unref();
  return state;
}
