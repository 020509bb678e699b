/**
 * Many byte strings searched for at once, in one pass and in time that grows with the text alone (Aho and Corasick).
 * Whoever knows the secrets cannot slow it down by printing nearly them.
 */

export interface Scan {
  /** Where the search stands; what `start` of the set is before the first byte. */
  state: number;
  /** Called for every end of a pattern with the longest that ends there, ends rising. */
  onMatch(start: number, end: number): void;
}

export class PatternSet {
  /** Length of the longest pattern; 0 without patterns. */
  readonly longest: number;
  /** Length of the shortest one; infinite without patterns. */
  readonly shortest: number;
  /** Bytes that stand in no pattern are all of class 0: a row of the table is as wide as there are classes. */
  readonly #classOf = new Uint8Array(256);
  readonly #isFirst = new Uint8Array(256);
  readonly #width: number;
  /** State (a multiple of the width) and class -> next state; its complement where a pattern ends. */
  readonly #next: Int32Array;
  /** By state divided by the width: how many bytes read last begin a pattern. */
  readonly #depth: Int32Array;
  /** By state divided by the width: the longest pattern that the bytes read last end with. */
  readonly #ends: Int32Array;

  constructor(patterns: readonly Uint8Array[]) {
    const used = patterns.filter(pattern => pattern.length > 0);
    this.longest = used.reduce((most, { length }) => Math.max(most, length), 0);
    this.shortest = used.reduce((least, { length }) => Math.min(least, length), Number.POSITIVE_INFINITY);
    for (const pattern of used) for (const byte of pattern) this.#classOf[byte] = 1;
    // With all 256 in use none is left for "in no pattern", and none is needed.
    let width = this.#classOf.includes(0) ? 1 : 0;
    for (let byte = 0; byte < 256; byte += 1) if (this.#classOf[byte] === 1) this.#classOf[byte] = width++;
    this.#width = width;
    const states = 1 + used.reduce((sum, { length }) => sum + length, 0);
    this.#next = new Int32Array(states * width);
    this.#depth = new Int32Array(states);
    this.#ends = new Int32Array(states);
    const made = this.#plant(used);
    this.#link(made);
  }

  /** How many of the bytes read last may turn out to begin a pattern. */
  open(state: number): number {
    return this.#depth[state / this.#width] ?? 0;
  }

  /** Whether `data` holds one of them. */
  isIn(data: Uint8Array): boolean {
    let found = false;
    const onMatch = () => {
      found = true;
    };
    this.read(data, 0, { state: 0, onMatch });
    return found;
  }

  /** Reads `data` on from where `scan` stands. Positions are those in `data`; a match may begin before it. */
  read(data: Uint8Array, from: number, scan: Scan): void {
    const [next, classOf, isFirst, width] = [this.#next, this.#classOf, this.#isFirst, this.#width];
    const { length } = data;
    let { state } = scan;
    for (let at = from; at < length; at += 1) {
      if (state === 0) {
        while (at < length && isFirst[data[at] as number] === 0) at += 1;
        if (at === length) break;
      }
      state = next[state + (classOf[data[at] as number] as number)] as number;
      if (state < 0) {
        state = ~state;
        scan.onMatch(at + 1 - (this.#ends[state / width] as number), at + 1);
      }
    }
    scan.state = state;
  }

  /** Makes the tree of all beginnings; returns how many states it has. */
  #plant(patterns: readonly Uint8Array[]): number {
    let made = 1;
    for (const pattern of patterns) {
      this.#isFirst[pattern[0] as number] = 1;
      let state = 0;
      for (const [index, byte] of pattern.entries()) {
        const edge = state * this.#width + (this.#classOf[byte] as number);
        if (this.#next[edge] === 0) {
          this.#next[edge] = made;
          this.#depth[made] = index + 1;
          made += 1;
        }
        state = this.#next[edge] as number;
      }
      this.#ends[state] = pattern.length;
    }
    return made;
  }

  /** Fills in where each state goes on with bytes that leave its tree, nearest to the root first. */
  #link(made: number): void {
    const [next, width] = [this.#next, this.#width];
    const fallback = new Int32Array(made);
    const queue = new Int32Array(made);
    let last = 1;
    for (let first = 0; first < last; first += 1) {
      const state = queue[first] as number;
      const other = fallback[state] as number;
      if (this.#ends[state] === 0) this.#ends[state] = this.#ends[other] as number;
      for (let kind = 0; kind < width; kind += 1) {
        const edge = state * width + kind;
        const child = next[edge] as number;
        // The row of the fallback is nearer to the root, so it is filled already.
        const otherwise = state === 0 ? 0 : (next[other * width + kind] as number);
        if (child === 0) next[edge] = otherwise;
        else {
          fallback[child] = otherwise;
          queue[last++] = child;
        }
      }
    }
    for (let edge = 0; edge < made * width; edge += 1) {
      const state = next[edge] as number;
      next[edge] = this.#ends[state] === 0 ? state * width : ~(state * width);
    }
  }
}
