/** The files settings come from: `cellpool.yaml` of a repository, and a file for one call's opencode config. */
import { readFileSync, statSync } from 'node:fs';
import { type Fault, messageOf } from '../errors.ts';
import { isRecord, jsonObjectFault } from './json.ts';
import { LEAVES } from './leaves.ts';
import { type Located, lineOf } from './located.ts';
import { readYaml } from './yaml.ts';

/** A settings file is written by hand; a larger one is something else. */
const FILE_MAX_BYTES = 1024 * 1024;

export interface ProjectFile {
  /** `{}` without a file. */
  content: Record<string, unknown>;
  /** Where a value stands, or what holds it: `cellpool.yaml:3`. */
  placeOf(path: readonly PropertyKey[]): string;
}

export const NO_PROJECT_FILE: ProjectFile = { content: {}, placeOf: () => 'cellpool.yaml' };

/** What `cellpool.yaml` holds. Keys that are unknown or belong to the operator are faults. */
export function readProjectFile(path: string, faults: Fault[]): ProjectFile {
  const located = readLocated(path, 'cellpool.yaml', faults, true);
  const content = contentOf(located);
  const placeOf = (keys: readonly PropertyKey[]) => `cellpool.yaml:${lineOf(located ?? NOTHING, keys)}`;
  for (const key of leafKeys(content, placeOf, faults)) {
    const leaf = LEAVES.find(one => one.key === key);
    const where = placeOf(key.split('.'));
    if (leaf === undefined) faults.push({ where, what: `key ${JSON.stringify(key)} is not known` });
    else if (!leaf.file) {
      const instead = leaf.env === undefined ? 'a flag' : `a flag or ${leaf.env}`;
      faults.push({ where, what: `key "${key}" belongs to the operator: set it by ${instead}` });
    }
  }
  return { content, placeOf };
}

/** Keys as the leaves name them: `limits.attempts`; values under a leaf (such as `opencode`) are not entered. */
function leafKeys(content: Record<string, unknown>, placeOf: ProjectFile['placeOf'], faults: Fault[]): string[] {
  return Object.entries(content).flatMap(([key, value]) => {
    if (!LEAVES.some(leaf => leaf.key.startsWith(`${key}.`))) return [key];
    if (isRecord(value)) return Object.keys(value).map(inner => `${key}.${inner}`);
    // A section with nothing below it is what is left when every line in it is commented out.
    if (value !== null) faults.push({ where: placeOf([key]), what: `"${key}" must hold keys and values` });
    return [];
  });
}

/** The keys and values of a YAML or JSON file; `{}` and a fault when it cannot be used. */
export function readConfigFile(path: string, where: string, faults: Fault[]): Record<string, unknown> {
  return contentOf(readLocated(path, where, faults, false));
}

const NOTHING: Located = { value: {}, line: 1 };

function contentOf(located: Located | null): Record<string, unknown> {
  return isRecord(located?.value) ? located.value : {};
}

function readLocated(path: string, where: string, faults: Fault[], optional: boolean): Located | null {
  const text = readText(path, where, faults, optional);
  const before = faults.length;
  const [located = NOTHING, second] = readYaml(text ?? '', (line, what) =>
    faults.push({ where: line === null ? where : `${where}:${line}`, what }),
  );
  if (faults.length > before) return null;
  const fault = second === undefined ? jsonObjectFault(located.value) : 'holds more than one document';
  if (fault === null) return located;
  faults.push({ where: second === undefined ? where : `${where}:${second.line}`, what: fault });
  return null;
}

function readText(path: string, where: string, faults: Fault[], optional: boolean): string | null {
  try {
    const stat = statSync(path);
    // The repository may hold a link to a device, which would be read for ever.
    if (!stat.isFile()) faults.push({ where, what: 'is not a file' });
    else if (stat.size > FILE_MAX_BYTES) faults.push({ where, what: `is larger than ${FILE_MAX_BYTES} bytes` });
    else return readFileSync(path, 'utf8');
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!missing) faults.push({ where, what: `cannot be read: ${messageOf(error)}` });
    else if (!optional) faults.push({ where, what: `there is no file ${path}` });
  }
  return null;
}
