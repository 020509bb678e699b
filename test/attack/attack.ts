/** What an attack is, and how it is judged: by what is seen from outside, never by what the agent says of it. */
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { leashLevel } from '../../src/os/leash.ts';
import type { Setting } from './setting.ts';

export const LEVELS = ['process', 'sandbox', 'strict'] as const satisfies readonly IsolationLevel[];

/** `refused`: an error. `contained`: it worked, but only inside the cell. `possible`: it had an effect outside. */
export type Verdict = 'refused' | 'contained' | 'possible';

/** What is known of one attack when the session is over and all ends of the cell have been gone through. */
export interface Seen {
  setting: Setting;
  /** What its shell printed. */
  output: string;
  /** Of its shell; null when it did not come to its end. */
  exitCode: number | null;
  facts: Facts;
}

/** Gathered from outside, each at the only moment at which it can be. */
export interface Facts {
  /** While the session was open: what a call from the host to the agent's own port brought. */
  answerOfListener: string;
  /** After the server was stopped: command lines of all processes of the host. */
  survivors: string;
  /** After teardown: the same. */
  outliving: string;
  test: { exitCode: number | null; log: string };
  /** The commit with all its files and messages, as text; why there is none, otherwise. */
  commit: string;
  /** Of the second cell, whose workspace was replaced before it was committed. */
  replaced: string;
}

/** A row of the table. */
export interface Row {
  id: string;
  title: string;
  /** For a worker that is root. Null: not tried at that level. */
  expected: Record<IsolationLevel, Verdict | null>;
  /** Where it differs for a worker that is not root. */
  withoutRoot?: Partial<Record<IsolationLevel, Verdict>>;
  /** At `process`, where the worker cannot start programs in a pid namespace. */
  withoutNamespaces?: Verdict;
  /** Why it cannot be tried on this machine; null when it can. */
  unfit?(): string | null;
}

export interface Attack extends Row {
  /** Who makes it: the attacker, or the sibling afterwards, since it spoils the cell for everything else. */
  by?: 'sibling';
  shell(setting: Setting): string;
  /** Whether it had its effect outside the cell. */
  reached(seen: Seen): boolean;
}

export function verdictOf(attack: Attack, seen: Seen): Verdict {
  if (attack.reached(seen)) return 'possible';
  return seen.exitCode === 0 ? 'contained' : 'refused';
}

/** What this machine and this user are expected to give. */
export async function expectedOf(attack: Row, level: IsolationLevel): Promise<Verdict | null> {
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && attack.withoutRoot?.[level] !== undefined) return attack.withoutRoot[level];
  const open = level === 'process' && (await leashLevel()) !== 'pid-namespace';
  return (open ? attack.withoutNamespaces : undefined) ?? attack.expected[level];
}

export const isTried = (attack: Row, level: IsolationLevel) =>
  attack.expected[level] !== null && (attack.unfit?.() ?? null) === null;

/** Shorthands for what is expected at `process`, `sandbox` and `strict`. */
export const at = (process: Verdict | null, sandbox: Verdict | null, strict: Verdict | null) => ({
  process,
  sandbox,
  strict,
});

/** The attack is to print a secret: it is possible when the secret stands in the transcript. */
export const prints =
  (secret: (setting: Setting) => string) =>
  ({ setting, output }: Seen): boolean =>
    output.includes(secret(setting));

/** A program for node, which is in every cell; it may hold no single quote. */
export const node = (program: string) => `timeout 20 '${process.execPath}' -e '${program}'`;

/** Prints what a TCP port or unix socket says, after `first` was sent to it. */
export const call = (to: { port: number } | { path: string }, first = '') =>
  node(
    `const socket = require("net").connect(${JSON.stringify(to)});` +
      `socket.on("error", error => { console.error(error.code); process.exit(1); });` +
      `socket.on("data", data => { console.log(String(data)); process.exit(0); });` +
      `socket.on("end", () => process.exit(1)); socket.write(${JSON.stringify(first)});`,
  );
