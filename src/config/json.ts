/** Free-form JSON objects from outside (metadata, parts of the opencode config), held to limits before any recursion. */
import { z } from 'zod';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Levels of lists and objects inside one another; more is refused, so that no recursion over it can overflow. */
export const JSON_DEPTH_MAX = 64;

/** Values in one object, those of its parts included; bounds what shared (aliased) parts may unfold to. */
const JSON_VALUES_MAX = 100_000;

/** A JSON object of bounded depth and size, without `__proto__` keys. */
export const jsonObject = z.custom<JsonObject>().superRefine((value, context) => {
  const fault = jsonObjectFault(value);
  if (fault !== null) context.addIssue({ code: 'custom', message: fault });
});

/** Why `value` is no JSON object within the limits, as the end of a sentence; null when it is one. */
export function jsonObjectFault(value: unknown): string | null {
  if (!isRecord(value)) return 'must be an object with keys and values';
  let seen = 0;
  const stack: { value: unknown; depth: number }[] = [{ value, depth: 1 }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    seen += 1;
    if (seen > JSON_VALUES_MAX) return `holds more than ${JSON_VALUES_MAX} values`;
    const fault = partFault(next.value);
    if (fault !== null) return fault;
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth > JSON_DEPTH_MAX) return `is nested deeper than ${JSON_DEPTH_MAX} levels`;
    for (const part of Object.values(next.value)) stack.push({ value: part, depth: next.depth + 1 });
  }
  return null;
}

function partFault(value: unknown): string | null {
  if (typeof value === 'number') return Number.isFinite(value) ? null : `holds ${value}, which JSON cannot say`;
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Array.isArray(value)) return null;
  if (!isRecord(value)) return 'holds a value that JSON cannot say';
  return Object.hasOwn(value, '__proto__') ? 'holds a key "__proto__"' : null;
}

/** An object as JSON and YAML make them: neither a list nor an instance of a class. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
