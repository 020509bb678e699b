/** What is wrong with one file, collected until there is no point in reading on. */
import type { Fault } from '../errors.ts';

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
