/** All that is wrong with a call, told at once. */
import { type Fault, InvalidInput } from '../errors.ts';

/** The values of `parts`, each worked out in turn. @throws {InvalidInput} with the faults of all of them */
export function allOf<T extends unknown[]>(...parts: { [K in keyof T]: () => T[K] }): T {
  const faults: Fault[] = [];
  const values = parts.map(part => {
    try {
      return part();
    } catch (error) {
      if (!(error instanceof InvalidInput)) throw error;
      faults.push(...error.faults);
      return undefined;
    }
  });
  if (faults.length > 0) throw new InvalidInput(faults);
  return values as T;
}

/** @throws {InvalidInput} when there are some */
export function refuse(faults: readonly Fault[]): void {
  if (faults.length > 0) throw new InvalidInput(faults);
}

/** The longest that a timer can wait. */
const SECONDS_MAX = 2_000_000;

/** Seconds as a person writes them, in ms. @throws {InvalidInput} */
export function secondsOf(flag: string, value: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(value.trim()) ? Number(value) : Number.NaN;
  if (seconds <= SECONDS_MAX) return Math.round(seconds * 1_000);
  throw new InvalidInput([
    { where: flag, what: `is a number of seconds up to ${SECONDS_MAX}, not ${JSON.stringify(value.slice(0, 40))}` },
  ]);
}
