/** A log file of limited size: what comes first is written at once, of the rest only the end is kept. */
import { createWriteStream, type WriteStream } from 'node:fs';

const HEAD_BYTES = 8 * 1024 * 1024;
const TAIL_BYTES = 64 * 1024;

/** Changes the bytes on their way; what it keeps back comes with a later chunk, or at the end. */
export interface ByteFilter {
  push(chunk: Buffer): Buffer;
  end(): Buffer;
}

export class BoundedLog {
  readonly #file: WriteStream;
  readonly #headBytes: number;
  readonly #filter: ByteFilter | null;
  #written = 0;
  #seen = 0;
  /** The last bytes of all that was written, as a ring: `#seen` tells where the next one goes. */
  #ring = Buffer.alloc(0);
  #problem: Error | null = null;
  #closed: Promise<void> | null = null;

  /** `filter` stands before everything: file and tail hold only what it lets through. */
  constructor(path: string, headBytes: number = HEAD_BYTES, filter: ByteFilter | null = null) {
    this.#headBytes = headBytes;
    this.#filter = filter;
    this.#file = createWriteStream(path, { flags: 'w', mode: 0o600 });
    // A full disk must not end the worker: the log is cut short, the work goes on, and `problem` says why.
    this.#file.on('error', error => {
      this.#problem = error;
    });
  }

  /** Why the file is incomplete, when it could not be written. */
  get problem(): Error | null {
    return this.#problem;
  }

  write(chunk: Buffer): void {
    this.#take(this.#filter === null ? chunk : this.#filter.push(chunk));
  }

  #take(chunk: Buffer): void {
    this.#keep(chunk);
    const room = this.#headBytes - this.#written;
    if (room <= 0 || this.#problem !== null || this.#closed !== null) return;
    const head = chunk.subarray(0, room);
    this.#written += head.length;
    this.#file.write(head);
  }

  /** The last `characters` of all that was written, also of what is not in the file. */
  tail(characters = 4_000): string {
    return this.#end(TAIL_BYTES).toString('utf8').slice(-characters);
  }

  /** Ends the file; resolves when it is on its way to the disk, also when it could not be written. */
  close(): Promise<void> {
    this.#closed ??= new Promise(resolve => {
      if (this.#filter !== null) this.#take(this.#filter.end());
      const rest = this.#seen - this.#written;
      if (rest > 0 && this.#problem === null) {
        const kept = this.#end(rest);
        this.#file.write(`\n[${rest - kept.length} bytes left out]\n`);
        this.#file.write(kept);
      }
      this.#file.once('close', () => resolve());
      this.#file.end();
      if (this.#file.closed) resolve();
    });
    return this.#closed;
  }

  #keep(chunk: Buffer): void {
    if (this.#ring.length === 0) this.#ring = Buffer.alloc(TAIL_BYTES);
    const last = chunk.subarray(-TAIL_BYTES);
    const at = (this.#seen + chunk.length - last.length) % TAIL_BYTES;
    const copied = last.copy(this.#ring, at);
    last.copy(this.#ring, 0, copied);
    this.#seen += chunk.length;
  }

  /** The last `most` bytes, or as many as there are. */
  #end(most: number): Buffer {
    const length = Math.min(most, this.#seen, TAIL_BYTES);
    const from = (this.#seen - length) % TAIL_BYTES;
    return Buffer.concat([this.#ring.subarray(from), this.#ring.subarray(0, from)], length);
  }
}
