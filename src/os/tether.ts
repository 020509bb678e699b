/**
 * Our end of the line that holds a pid namespace: the first process in it lives as long as the line is open, and all
 * others there live as long as the first. The kernel closes the line when we die, however we die.
 */
import { readlink } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { setImmediate as nextRound, setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { CellpoolError } from '../errors.ts';
import { killEntry, listProcesses, type ProcessEntry, readProcess } from './process-table.ts';

/** The kernel ends everything in the namespace before it lets go of the first; longer than this something is wrong. */
const GONE_MS = 5_000;
const POLL_MOST_MS = 50;
/** From then on all processes are looked at, which is not free. */
const LOOK_AT_ALL_MS = 8;
/** How many are looked at at once. */
const READS = 32;
const MOST_SAID = 4_096;

export class Tether {
  readonly #line: Duplex;
  /** The first process of the namespace; null when the line was closed before there was one. */
  readonly #init: Promise<Init | null>;
  #said = '';
  #released: Promise<void> | null = null;

  constructor(line: Duplex) {
    this.#line = line;
    this.#init = new Promise<number>(resolve => {
      line.on('data', (chunk: Buffer) => {
        this.#said = (this.#said + chunk.toString('latin1')).slice(0, MOST_SAID);
        const pid = /^(\d+)\n/m.exec(this.#said)?.[1];
        if (pid !== undefined) resolve(Number(pid));
      });
      // Whoever held the other end is gone; `close` follows, and says so.
      line.on('error', () => undefined);
      line.once('close', () => resolve(0));
    }).then(pid => (pid > 1 ? identify(pid) : null));
    // Told by `release`, which waits for it.
    this.#init.catch(() => undefined);
  }

  /**
   * Whether the leader could not end as the program did, by SIGKILL: it complains then, and its exit code is 1. To be
   * asked when the leader has ended.
   */
  async wasKilled(): Promise<boolean> {
    // What it said before its end may still be unread: that is done in the round after this one.
    await nextRound();
    await nextRound();
    return /[^\d\n]/.test(this.#said);
  }

  /**
   * Kills everything in the namespace; its leader, which is outside, waits for the program and ends then. Kill that
   * one first, and somebody else would have to wait for the program, who may never do it.
   */
  async kill(): Promise<void> {
    const init = await Promise.race([this.#init, sleep(GONE_MS, null, { ref: false })]);
    if (init !== null) await killEntry(init.entry);
  }

  /**
   * Kills what is still in the namespace, and waits until all of it is gone. Harmless when repeated. To be called when
   * the leader has ended. @throws {CellpoolError} INTERNAL when it takes more than 5 s
   */
  release(): Promise<void> {
    this.#released ??= this.kill().then(async () => {
      // Not before: the leader may have had something to say.
      this.#line.destroy();
      const init = await this.#init;
      if (init !== null) await gone(init);
    });
    return this.#released;
  }
}

/** The first process of a namespace. */
interface Init {
  entry: ProcessEntry;
  /** The kernel's name for the namespace. */
  namespace: string;
}

async function identify(pid: number): Promise<Init | null> {
  const [entry, namespace] = await Promise.all([readProcess(pid), namespaceOf(pid)]);
  return entry === null ? null : { entry, namespace };
}

async function gone(init: Init): Promise<void> {
  const deadline = performance.now() + GONE_MS;
  for (let wait = 1; ; wait = Math.min(wait * 2, POLL_MOST_MS)) {
    const now = await readProcess(init.entry.pid);
    if (now === null || now.startTime !== init.entry.startTime || now.zombie) return;
    // The first one stays until somebody has waited for the last zombie: all are dead before that.
    if (wait >= LOOK_AT_ALL_MS && (await onlyZombiesIn(init))) return;
    if (performance.now() > deadline) {
      throw new CellpoolError('INTERNAL', `what ${init.entry.pid} leads is still there ${GONE_MS} ms after SIGKILL`);
    }
    await sleep(wait);
  }
}

async function onlyZombiesIn({ entry: { pid }, namespace }: Init): Promise<boolean> {
  const living = (await listProcesses()).filter(entry => !entry.zombie && entry.pid !== pid);
  const namespaces = await pLimit(READS).map(living, entry => namespaceOf(entry.pid));
  return !namespaces.includes(namespace);
}

/** Empty for one that is gone, or not ours. */
function namespaceOf(pid: number): Promise<string> {
  return readlink(`/proc/${pid}/ns/pid`).catch(() => '');
}
