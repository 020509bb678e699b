/**
 * Redaction: every secret the worker knows is replaced in whatever leaves it: logs, artifacts, what goes to Redis and
 * into prompts. It holds against accidents, not against somebody who wants a secret out: whoever knows one can write
 * it in a way that nobody searches for. What a cell must not give away must not reach it.
 */
import { PatternSet } from './pattern-set.ts';
import { formsOf } from './secret-forms.ts';

export const MASK = '[redacted]';
const MASK_BYTES = Buffer.from(MASK);

/** Secrets that were given up last are known for a while: what was said of a cell is written down after its end. */
const GIVEN_UP_MOST = 64;

export class Redactor {
  /** Secret -> by how many it was added. */
  readonly #secrets = new Map<string, number>();
  readonly #givenUp: (readonly string[])[] = [];
  /** Made when it is needed next. */
  #patterns: PatternSet | null = null;

  constructor(secrets: Iterable<string> = []) {
    this.add(secrets);
  }

  /** What is looked for now; another object after every change. */
  get patterns(): PatternSet {
    this.#patterns ??= new PatternSet([...this.#secrets.keys()].flatMap(formsOf));
    return this.#patterns;
  }

  /** Makes secrets known; call what is returned when they are worth nothing any more. */
  add(secrets: Iterable<string>): () => void {
    // One that is part of the mask would be found in what was redacted.
    const added = [...new Set(secrets)].filter(secret => secret !== '' && !MASK.includes(secret));
    for (const secret of added) {
      const known = this.#secrets.get(secret) ?? 0;
      if (known === 0) this.#patterns = null;
      this.#secrets.set(secret, known + 1);
    }
    let isGivenUp = false;
    return () => {
      if (isGivenUp) return;
      isGivenUp = true;
      this.#givenUp.push(added);
      if (this.#givenUp.length > GIVEN_UP_MOST) this.#forget(this.#givenUp.shift() ?? []);
    };
  }

  /** For bytes that come in chunks: a secret is found wherever they are cut. */
  stream(): RedactedStream {
    return new RedactedStream(this);
  }

  /** The text itself when it holds no secret. */
  text(text: string): string {
    const { patterns } = this;
    // Most texts are names of fields.
    if (Buffer.byteLength(text) < patterns.shortest) return text;
    const bytes = Buffer.from(text);
    if (!patterns.isIn(bytes)) return text;
    const stream = this.stream();
    return Buffer.concat([stream.push(bytes), stream.end()]).toString();
  }

  /** A copy of data as in JSON with every text redacted, names of keys too; what stands under `keep` stays as it is. */
  deep<T>(value: T, keep: ReadonlySet<string> = new Set()): T {
    return this.#deep(value, keep) as T;
  }

  #deep(value: unknown, keep: ReadonlySet<string>): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map(part => this.#deep(part, keep));
    if (typeof value !== 'object' || value === null) return value;
    const parts = Object.entries(value).map(([key, part]) => [
      this.text(key),
      keep.has(key) ? part : this.#deep(part, keep),
    ]);
    return Object.fromEntries(parts);
  }

  #forget(secrets: readonly string[]): void {
    for (const secret of secrets) {
      const known = (this.#secrets.get(secret) ?? 1) - 1;
      if (known > 0) this.#secrets.set(secret, known);
      else if (this.#secrets.delete(secret)) this.#patterns = null;
    }
  }
}

interface Span {
  start: number;
  end: number;
}

/**
 * Takes bytes in chunks and gives them back with every run of secrets replaced, the same ones however they were cut.
 * It keeps back what may turn out to begin a secret, which is less than the longest one.
 */
export class RedactedStream {
  readonly #redactor: Pick<Redactor, 'patterns'>;
  #patterns: PatternSet;
  #state = 0;
  /** The bytes kept back. */
  #held: Buffer = Buffer.alloc(0);
  /** Secrets in what is being read, in order, not touching each other. */
  #spans: Span[] = [];
  /** Whether the mask was the last that was given out. */
  #masked = false;
  #found = 0;

  constructor(redactor: Pick<Redactor, 'patterns'>) {
    this.#redactor = redactor;
    this.#patterns = redactor.patterns;
  }

  /** How many masks were put in. */
  get found(): number {
    return this.#found;
  }

  /** How many bytes are kept back. */
  get heldBack(): number {
    return this.#held.length;
  }

  push(chunk: Buffer): Buffer {
    const data = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const from = this.#keepUp();
    this.#patterns.read(data, from, this.#scan());
    let decided = Math.max(0, data.length - this.#patterns.open(this.#state));
    // What belongs to a secret is decided, also where another one may begin within it.
    for (const { start, end } of this.#spans) if (start <= decided) decided = Math.max(decided, end);
    return this.#give(data, decided);
  }

  /** What was kept back. More may follow, which then begins anew. */
  end(): Buffer {
    const rest = this.#give(this.#held, this.#held.length);
    this.#state = 0;
    this.#masked = false;
    return rest;
  }

  /** Secrets may have become known meanwhile, also such as begin in what is kept back. Returns where to read on. */
  #keepUp(): number {
    const { patterns } = this.#redactor;
    if (patterns === this.#patterns) return this.#held.length;
    this.#patterns = patterns;
    this.#state = 0;
    this.#spans = [];
    return 0;
  }

  #scan() {
    const stream = this;
    return {
      get state() {
        return stream.#state;
      },
      set state(state: number) {
        stream.#state = state;
      },
      onMatch(start: number, end: number) {
        const spans = stream.#spans;
        // It may begin in what was given out as part of another secret.
        let from = Math.max(0, start);
        for (let last = spans.at(-1); last !== undefined && last.end >= from; last = spans.at(-1)) {
          from = Math.min(from, last.start);
          spans.pop();
        }
        spans.push({ start: from, end });
      },
    };
  }

  /** Gives out the first `length` bytes of `data`, redacted, and keeps the others. */
  #give(data: Buffer, length: number): Buffer {
    if (length === 0) {
      this.#held = Buffer.from(data);
      return this.#held.subarray(0, 0);
    }
    const parts: Buffer[] = [];
    let at = 0;
    const given = this.#spans.filter(({ end }) => end <= length);
    for (const { start, end } of given) {
      if (start > at) parts.push(data.subarray(at, start));
      // What touches a secret whose mask is out belongs to the same run.
      if (start > 0 || !this.#masked) {
        parts.push(MASK_BYTES);
        this.#found += 1;
      }
      at = end;
    }
    if (at < length) parts.push(data.subarray(at, length));
    this.#masked = at === length;
    const later = this.#spans.slice(given.length);
    this.#spans = later.map(({ start, end }) => ({ start: start - length, end: end - length }));
    this.#held = length === data.length ? data.subarray(length) : Buffer.from(data.subarray(length));
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}
