/** Keeps a bridge going: writes back when something happens, and looks for what is ready after that and now and then. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CellpoolError } from '../../errors.ts';
import { type Bridge, isAway, type Looked } from './bridge.ts';
import type { Stir } from './stir.ts';

export interface WatchOptions {
  bridge: Bridge;
  stir: Stir;
  /** Milliseconds between two looks when nothing happens. */
  intervalMs: number;
  /** Ends it, once what is being written has been. */
  signal: AbortSignal;
  onLook?(looked: Looked): void;
  /** The source or Redis is away, told once; null: both are back. */
  onAway(error: CellpoolError | null): void;
}

/** Between two tries while source or Redis are away: the longest, and the first. */
const AWAY_MAX_MS = 60_000;
const AWAY_MS = 1_000;

/** Returns when `signal` is aborted. @throws what is no matter of somebody being away */
export async function watch({ bridge, stir, intervalMs, signal, onLook, onAway }: WatchOptions): Promise<void> {
  let awayMs = 0;
  let lookAt = 0;
  while (!signal.aborted) {
    try {
      const { freed, againMs } = await bridge.writeBack(signal);
      if (freed || performance.now() >= lookAt) {
        const looked = await bridge.look(signal);
        lookAt = performance.now() + Math.min(intervalMs, againMs ?? intervalMs);
        if (!signal.aborted) onLook?.(looked);
      }
      if (awayMs > 0) onAway(null);
      awayMs = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!isAway(error)) throw error;
      if (awayMs === 0) onAway(error);
      awayMs = Math.min(AWAY_MAX_MS, Math.max(AWAY_MS, awayMs * 2));
      await sleep(awayMs, undefined, { signal }).catch(() => undefined);
      continue;
    }
    await stir.wait(Math.max(0, lookAt - performance.now()), signal);
  }
}
