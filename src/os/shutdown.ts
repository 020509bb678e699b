/**
 * Requests to come to an end: the first asks, the second insists. One listener a signal for the whole process.
 *
 * A supervised process is also asked by its supervisor, which passes its own signals on. One press of Ctrl-C, or one
 * `systemctl stop`, may reach both processes and is one request all the same: what counts is how often the more
 * insistent side has asked. A supervisor that is gone has asked once.
 */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Set to 1 in a process whose supervisor sends it `StopMessage`s. */
export const SUPERVISED = 'CELLPOOL_SUPERVISED';

/** What a supervisor sends for each signal that it gets. */
export interface StopMessage {
  kind: 'stop';
  signal: NodeJS.Signals;
}

export interface Interrupts {
  /** The signal that came first, or null. */
  readonly received: NodeJS.Signals | null;
  /** Takes the listeners away again. */
  dispose(): void;
}

/** Whether another process of ours watches over this one. */
export function isSupervised(): boolean {
  return process.env[SUPERVISED] === '1' && process.send !== undefined;
}

/** Calls `first` on the first request and `again` on every later one. */
export function onInterrupt(
  first: (signal: NodeJS.Signals) => void,
  again: (signal: NodeJS.Signals) => void,
): Interrupts {
  let received: NodeJS.Signals | null = null;
  const asked = { here: 0, supervisor: 0 };
  const ask = (side: keyof typeof asked, signal: NodeJS.Signals) => {
    const before = Math.max(asked.here, asked.supervisor);
    asked[side] += 1;
    if (asked[side] <= before) return;
    received ??= signal;
    if (before === 0) first(signal);
    else again(signal);
  };
  const listener = (signal: NodeJS.Signals) => ask('here', signal);
  const onMessage = (message: unknown) => {
    if (isStop(message)) ask('supervisor', message.signal);
  };
  const onAlone = () => {
    if (received === null) ask('supervisor', 'SIGTERM');
    // From now on only this side can be heard.
    asked.here = Math.max(asked.here, asked.supervisor);
  };
  for (const signal of SIGNALS) process.on(signal, listener);
  if (isSupervised()) {
    process.on('message', onMessage);
    process.on('disconnect', onAlone);
    if (!process.connected) onAlone();
  }
  return {
    get received() {
      return received;
    },
    dispose() {
      for (const signal of SIGNALS) process.off(signal, listener);
      process.off('message', onMessage);
      process.off('disconnect', onAlone);
    },
  };
}

function isStop(message: unknown): message is StopMessage {
  return (
    typeof message === 'object' &&
    message !== null &&
    'kind' in message &&
    message.kind === 'stop' &&
    'signal' in message &&
    SIGNALS.some(signal => signal === message.signal)
  );
}
