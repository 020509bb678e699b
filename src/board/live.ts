/**
 * What listeners are kept up to date with. One reader serves all listeners of a topic: it reads while somebody listens,
 * at most once a second, and tells only what has changed since it was told last.
 */
import { CellpoolError, messageOf } from '../errors.ts';

/** Parts of a page by the id of the element they stand in, each the HTML of its content. */
export type Parts = Readonly<Record<string, string>>;

/** `parts`: what has changed; all of it for a listener that is new. `away`: cannot be read any more, and why. */
export type LiveMessage = { kind: 'parts'; at: number; parts: Parts } | { kind: 'away'; reason: string };

export interface LiveOptions {
  /** Epoch ms, and all parts as they are then. */
  read: () => Promise<{ at: number; parts: Parts }>;
  /** Milliseconds from one reading to the next, at least. */
  everyMs?: number;
  /** Told of what it failed with, when that is not Redis being away; of the same again only once it was well between. */
  onFault?: (reason: string) => void;
  /** Called when nobody listens any more. */
  onIdle?: () => void;
}

type Listener = (message: LiveMessage) => void;

export const EVERY_MS = 1_000;
/** A reading that takes long is followed by a pause of so many times its length, for the sake of Redis. */
const PAUSE_FACTOR = 3;
/** What pages are told of a fault of our own, whose words are not for them. */
const FAILED = 'The board has failed at reading this; it has said on its own output why.';

export class LiveTopic {
  readonly #options: Required<LiveOptions>;
  readonly #listeners = new Set<Listener>();
  #known: { at: number; parts: Parts } | null = null;
  #away: string | null = null;
  #fault: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isReading = false;
  #readings = 0;

  constructor(options: LiveOptions) {
    this.#options = { everyMs: EVERY_MS, onFault: () => undefined, onIdle: () => undefined, ...options };
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  /** How often it has been read so far. */
  get readings(): number {
    return this.#readings;
  }

  /** Tells the listener all there is, then what changes, until the returned function is called. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    if (this.#known !== null) listener({ kind: 'parts', ...this.#known });
    if (this.#away !== null) listener({ kind: 'away', reason: this.#away });
    if (this.#timer === null && !this.#isReading) void this.#read();
    return () => {
      if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
      this.#rest();
      this.#options.onIdle();
    };
  }

  async #read(): Promise<void> {
    this.#isReading = true;
    this.#timer = null;
    const began = performance.now();
    this.#readings += 1;
    try {
      this.#tell(await this.#options.read());
    } catch (error) {
      this.#tellAway(this.#reasonOf(error));
    }
    this.#isReading = false;
    if (this.#listeners.size === 0) return this.#rest();
    const took = performance.now() - began;
    this.#timer = setTimeout(() => void this.#read(), Math.max(this.#options.everyMs - took, PAUSE_FACTOR * took));
  }

  #tell({ at, parts }: { at: number; parts: Parts }): void {
    const before = this.#known?.parts;
    const changed = Object.entries(parts).filter(([id, text]) => before?.[id] !== text);
    const wasAway = this.#away !== null;
    this.#known = { at, parts };
    this.#away = null;
    this.#fault = null;
    // Also when nothing has changed but that it can be read again.
    if (changed.length > 0 || wasAway) this.#send({ kind: 'parts', at, parts: Object.fromEntries(changed) });
  }

  #reasonOf(error: unknown): string {
    if (error instanceof CellpoolError && error.code === 'REDIS_UNAVAILABLE') return error.message;
    const fault = messageOf(error);
    if (fault !== this.#fault) this.#options.onFault(fault);
    this.#fault = fault;
    return FAILED;
  }

  #tellAway(reason: string): void {
    if (reason === this.#away) return;
    this.#away = reason;
    this.#send({ kind: 'away', reason });
  }

  #send(message: LiveMessage): void {
    // A listener may leave while it is told.
    for (const listener of [...this.#listeners]) listener(message);
  }

  /** Whoever comes next is to be told nothing old. */
  #rest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#known = null;
    this.#away = null;
    this.#fault = null;
  }
}
