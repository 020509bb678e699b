/** Random numbers from a seed: the same seed gives the same numbers, on every machine. */
import { createHash } from 'node:crypto';

/** A stream of numbers of its own for each `name`, so that more draws in one do not shift another. */
export function randomOf(seed, name) {
  let state = createHash('sha256').update(`${seed}\0${name}`).digest().readUInt32LE(0);
  // mulberry32: small, and good enough to choose what to break next.
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    /** From 0 up to 1. */
    next,
    /** Whole, both ends included. */
    between: (from, to) => from + Math.floor(next() * (to - from + 1)),
    pick: list => list[Math.floor(next() * list.length)],
    shuffle(list) {
      const mixed = [...list];
      for (let at = mixed.length - 1; at > 0; at -= 1) {
        const other = Math.floor(next() * (at + 1));
        [mixed[at], mixed[other]] = [mixed[other], mixed[at]];
      }
      return mixed;
    },
    hex: length => Array.from({ length }, () => Math.floor(next() * 16).toString(16)).join(''),
  };
}
