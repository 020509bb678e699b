/** Values read from a file, each with the line it begins in, so that every fault can say where it stands. */
import type { Fault } from '../errors.ts';

export interface Located {
  value: unknown;
  /** Counted from 1. */
  line: number;
  /** What an object or a list is made of; the line of an object's part is that of its key. */
  parts?: Map<PropertyKey, Located>;
}

/** The line of the part at `path`, or of the innermost part on the way that is known. */
export function lineOf(located: Located, path: readonly PropertyKey[]): number {
  let node = located;
  for (const key of path) {
    const part = node.parts?.get(key);
    if (part === undefined) break;
    node = part;
  }
  return node.line;
}

/** Faults in a file after which reading stops: nobody reads more, and a wrong file must not fill the memory. */
const FAULTS_MAX = 1_000;

/** Thrown to stop reading; the faults collected until then are the answer. */
export class ReadingStopped extends Error {}

/** The faults of one file. */
export class FaultList {
  readonly faults: Fault[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** @throws {ReadingStopped} when the list is full. */
  add(line: number | null, what: string): void {
    this.push([{ where: line === null ? this.#name : this.place(line), what }]);
  }

  /** @throws {ReadingStopped} when the list is full. */
  push(faults: readonly Fault[]): void {
    for (const fault of faults) {
      if (this.faults.length >= FAULTS_MAX) {
        this.faults.push({ where: this.#name, what: `has more than ${FAULTS_MAX} faults, only the first are listed` });
        throw new ReadingStopped();
      }
      this.faults.push(fault);
    }
  }

  /** Adds a fault and ends the reading. @throws {ReadingStopped} always. */
  stop(line: number | null, what: string): never {
    this.add(line, what);
    throw new ReadingStopped();
  }

  place(line: number): string {
    return `${this.#name}:${line}`;
  }
}

/** Most values (texts, numbers, lists, objects) in one document, those behind YAML aliases counted each time. */
export const VALUES_MAX = 2_000_000;
