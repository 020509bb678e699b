/** Server-sent events: one stream a listener, all of a topic fed by one reader. */
import { type LiveMessage, LiveTopic, type Parts } from './live.ts';

/** Proxies close what is silent, and pages take it for gone; comments are not told to pages, so it is an event. */
const HEARTBEAT_MS = 15_000;
/** What a browser waits before it connects again. */
const RETRY_MS = 2_000;
/** Bytes that may wait for a listener that does not read; beyond it, it is let go, and told all when it comes back. */
const UNREAD_MAX = 4 * 1024 * 1024;
const STREAMS_MAX = 200;

export interface LiveStreamsOptions {
  heartbeatMs?: number;
  everyMs?: number;
  /** Streams at once. */
  most?: number;
  /** Told of what the board itself failed with. */
  say?: (message: string) => void;
}

export class LiveStreams {
  readonly #topics = new Map<string, LiveTopic>();
  readonly #open = new Map<() => void, (text: string) => void>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #everyMs: number | undefined;
  readonly #most: number;
  readonly #say: (message: string) => void;

  constructor({
    heartbeatMs = HEARTBEAT_MS,
    everyMs,
    most = STREAMS_MAX,
    say = () => undefined,
  }: LiveStreamsOptions = {}) {
    this.#everyMs = everyMs;
    this.#most = most;
    this.#say = say;
    this.#heartbeat = setInterval(() => {
      for (const send of [...this.#open.values()]) send('event: beat\ndata: {}\n\n');
    }, heartbeatMs);
    this.#heartbeat.unref();
  }

  /** Streams that are open, and topics that somebody listens to with how often each was read. */
  get state(): { streams: number; topics: { name: string; listeners: number; readings: number }[] } {
    const topics = [...this.#topics].map(([name, { listeners, readings }]) => ({ name, listeners, readings }));
    return { streams: this.#open.size, topics };
  }

  /**
   * A stream of what becomes of a topic; null when as many are open as there may be. `read` is taken from the first
   * that listens to a topic of that name. `destroy` breaks the connection of one that does not read.
   */
  open(
    name: string,
    read: () => Promise<{ at: number; parts: Parts }>,
    destroy: () => void = () => undefined,
  ): ReadableStream<Uint8Array> | null {
    if (this.#open.size >= this.#most) return null;
    const encoder = new TextEncoder();
    let leave: () => void = () => undefined;
    return new ReadableStream<Uint8Array>(
      {
        start: controller => {
          let isOver = false;
          let stopListening: () => void = () => undefined;
          leave = () => {
            isOver = true;
            this.#open.delete(end);
            stopListening();
          };
          const end = () => {
            if (isOver) return;
            leave();
            controller.close();
          };
          const send = (text: string) => {
            if (isOver) return;
            if ((controller.desiredSize ?? 0) <= 0) {
              // An orderly end would keep what is not read, and the connection, for as long as the other side likes.
              leave();
              controller.error(new Error('it does not read'));
              destroy();
            } else controller.enqueue(encoder.encode(text));
          };
          this.#open.set(end, send);
          send(`retry: ${RETRY_MS}\n\n`);
          stopListening = this.#topic(name, read).listen(message => send(inWire(message)));
          if (isOver) stopListening();
        },
        cancel: () => leave(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: UNREAD_MAX }),
    );
  }

  /** Ends all streams. */
  close(): void {
    clearInterval(this.#heartbeat);
    for (const end of [...this.#open.keys()]) end();
  }

  #topic(name: string, read: () => Promise<{ at: number; parts: Parts }>): LiveTopic {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    const topic = new LiveTopic({
      read,
      ...(this.#everyMs === undefined ? {} : { everyMs: this.#everyMs }),
      onFault: reason => this.#say(`The board failed at reading for its live pages (${name}): ${reason}`),
      onIdle: () => this.#topics.delete(name),
    });
    this.#topics.set(name, topic);
    return topic;
  }
}

/** JSON has no line ends of its own, so each message is one line of data. */
function inWire({ kind, ...content }: LiveMessage): string {
  return `event: ${kind}\ndata: ${JSON.stringify(content)}\n\n`;
}
