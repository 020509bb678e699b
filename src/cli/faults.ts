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

const UNITS: Record<string, number> = { '': 1_000, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A time as a person writes it, `500ms`, `15s`, `2m` or a number of seconds, in ms; not 0. @throws {InvalidInput} */
export function durationOf(flag: string, value: string): number {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(value.trim());
  const ms = Math.round(Number(parts?.[1] ?? Number.NaN) * (UNITS[parts?.[2] ?? ''] ?? Number.NaN));
  if (ms >= 1 && ms <= SECONDS_MAX * 1_000) return ms;
  throw new InvalidInput([
    { where: flag, what: `is written 500ms, 15s, 2m or 1h, not ${JSON.stringify(value.slice(0, 40))}` },
  ]);
}

const COUNT_MAX = 1_000_000;

/** A whole number from 1. @throws {InvalidInput} */
export function countOf(flag: string, value: string): number {
  const count = /^\d+$/.test(value.trim()) ? Number(value) : Number.NaN;
  if (count >= 1 && count <= COUNT_MAX) return count;
  throw new InvalidInput([
    { where: flag, what: `is a whole number from 1 to ${COUNT_MAX}, not ${JSON.stringify(value.slice(0, 40))}` },
  ]);
}

/** @throws {InvalidInput} when it is none of them */
export function oneOf<T extends string>(flag: string, value: string, among: readonly T[]): T {
  const found = among.find(one => one === value);
  if (found !== undefined) return found;
  throw new InvalidInput([
    { where: flag, what: `is ${among.join(' or ')}, not ${JSON.stringify(value.slice(0, 40))}` },
  ]);
}

/** Names between commas. @throws {InvalidInput} with each that is none of them */
export function listOf<T extends string>(flag: string, value: string, among: readonly T[]): T[] {
  const names = value.split(',').map(name => name.trim());
  refuse(
    names
      .filter(name => !among.some(one => one === name))
      .map(name => ({ where: flag, what: `knows ${among.join(', ')}, not ${JSON.stringify(name.slice(0, 40))}` })),
  );
  return among.filter(name => names.includes(name));
}
