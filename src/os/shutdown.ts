/** One listener a signal for the whole process: the first interrupt asks, the second insists. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interrupts {
  /** The signal that came first, or null. */
  readonly received: NodeJS.Signals | null;
  /** Takes the listeners away again. */
  dispose(): void;
}

/** Calls `first` on the first signal and `again` on every later one. */
export function onInterrupt(
  first: (signal: NodeJS.Signals) => void,
  again: (signal: NodeJS.Signals) => void,
): Interrupts {
  let received: NodeJS.Signals | null = null;
  const listener = (signal: NodeJS.Signals) => {
    const before = received;
    received ??= signal;
    if (before === null) first(signal);
    else again(signal);
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  return {
    get received() {
      return received;
    },
    dispose() {
      for (const signal of SIGNALS) process.off(signal, listener);
    },
  };
}
