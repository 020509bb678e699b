/** What zod finds wrong, said as the end of a sentence: `"attempts" must be a whole number, not "many"`. */
import type { z } from 'zod';

/** One thing that is wrong, and its place in the value. */
export interface Flaw {
  path: PropertyKey[];
  /** The end of a sentence whose subject is the place. */
  what: string;
}

/** An issue may be about several keys, or about the one alternative of several that was meant. */
export function flawsOf(issue: z.core.$ZodIssue): Flaw[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({ path: [...path, key], what: 'is not known' }));
  }
  if (issue.code === 'invalid_union') {
    const ofOtherKind = (one: z.core.$ZodIssue) => one.code === 'invalid_type' && one.path.length === 0;
    const meant = issue.errors.find(issues => !issues.some(ofOtherKind)) ?? [];
    if (meant.length > 0) return meant.flatMap(flawsOf).map(flaw => ({ ...flaw, path: [...path, ...flaw.path] }));
  }
  return [{ path, what: issue.message }];
}

/** For `safeParse(value, { error: sayIssue })`. Undefined leaves zod's own words; a schema's own words win over both. */
export function sayIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is missing';
      return `must be ${nameOf(issue.expected)}, not ${quote(issue.input)}${hintOf(issue.expected, issue.input)}`;
    case 'too_small':
      if (issue.origin === 'string' && issue.minimum === 1) return 'may not be empty';
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `may be at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_value':
      return `must be ${issue.values.map(value => quote(value)).join(' or ')}, not ${quote(issue.input)}`;
    default:
      return undefined;
  }
}

const NAMES: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object with keys and values',
  record: 'an object with keys and values',
};

function nameOf(expected: string): string {
  return NAMES[expected] ?? expected;
}

/** YAML reads `1.10` and `true` as something else than text. */
function hintOf(expected: string, input: unknown): string {
  const bare = typeof input === 'number' || typeof input === 'boolean';
  return expected === 'string' && bare ? ': put it in quotes' : '';
}

function unitOf(origin: string): string {
  return origin === 'string' ? ' characters' : '';
}

/** Longest text that a message repeats; anything longer is only named. */
const QUOTE_MAX = 40;

function quote(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'string') return value.length <= QUOTE_MAX ? JSON.stringify(value) : 'this text';
  return typeof value === 'symbol' || typeof value === 'function' ? typeof value : String(value);
}
