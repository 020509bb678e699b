/** The files settings come from: `cellpool.yaml` of a repository, and a file for one call's opencode config. */
import { readFileSync, statSync } from 'node:fs';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { type Fault, messageOf } from '../errors.ts';
import { isRecord, jsonObjectFault } from './json.ts';
import { LEAVES } from './schema.ts';

/** A settings file is written by hand; a larger one is something else. */
const FILE_MAX_BYTES = 1024 * 1024;

/** What `cellpool.yaml` holds, `{}` without one. Keys that are unknown or belong to the operator are faults. */
export function readProjectFile(path: string, faults: Fault[]): Record<string, unknown> {
  const content = readConfigFile(path, 'cellpool.yaml', faults, true);
  for (const key of leafKeys(content, faults)) {
    const leaf = LEAVES.find(one => one.key === key);
    if (leaf === undefined) faults.push({ where: 'cellpool.yaml', what: `key "${key}" is not known` });
    else if (!leaf.file) {
      const instead = leaf.env === undefined ? 'a flag' : `a flag or ${leaf.env}`;
      faults.push({ where: 'cellpool.yaml', what: `key "${key}" belongs to the operator: set it by ${instead}` });
    }
  }
  return content;
}

/** Keys as the leaves name them: `limits.attempts`; values under a leaf (such as `opencode`) are not entered. */
function leafKeys(content: Record<string, unknown>, faults: Fault[]): string[] {
  return Object.entries(content).flatMap(([key, value]) => {
    if (!LEAVES.some(leaf => leaf.key.startsWith(`${key}.`))) return [key];
    if (isRecord(value)) return Object.keys(value).map(inner => `${key}.${inner}`);
    // A section with nothing below it is what is left when every line in it is commented out.
    if (value !== null) faults.push({ where: `cellpool.yaml ${key}`, what: 'must hold keys and values' });
    return [];
  });
}

/** The keys and values of a YAML or JSON file; `{}` and a fault when it cannot be used. */
export function readConfigFile(
  path: string,
  where: string,
  faults: Fault[],
  optional = false,
): Record<string, unknown> {
  try {
    const stat = statSync(path);
    // The repository may hold a link to a device, which would be read for ever.
    if (!stat.isFile()) return refuse('is not a file');
    if (stat.size > FILE_MAX_BYTES) return refuse(`is larger than ${FILE_MAX_BYTES} bytes`);
    const content: unknown = parseYaml(readFileSync(path, 'utf8'), { logLevel: 'error' }) ?? {};
    const fault = jsonObjectFault(content);
    return fault === null && isRecord(content) ? content : refuse(fault ?? 'must be an object with keys and values');
  } catch (error) {
    if (optional && codeOf(error) === 'ENOENT') return {};
    const line = error instanceof YAMLParseError ? `:${error.linePos?.[0].line ?? 1}` : '';
    faults.push({ where: `${where}${line}`, what: reasonOf(error, path) });
    return {};
  }
  function refuse(what: string): Record<string, unknown> {
    faults.push({ where, what });
    return {};
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function reasonOf(error: unknown, path: string): string {
  if (error instanceof RangeError) return 'is nested too deeply';
  if (codeOf(error) === 'ENOENT') return `there is no file ${path}`;
  // The first line says what is wrong; the rest repeats the file.
  const reason = messageOf(error).split('\n')[0] ?? '';
  return error instanceof YAMLParseError
    ? reason.replace(/ at line \d+, column \d+:$/, '')
    : `cannot be read: ${reason}`;
}
