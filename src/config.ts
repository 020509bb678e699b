/**
 * Settings: one schema, one order. A value comes from the first of: flags, environment, `cellpool.yaml` of the
 * target repository, defaults. Every default and limit of cellpool stands in `config/defaults.ts`, with its unit.
 *
 * `cellpool.yaml` belongs to the repository, so an agent's merged work may change it: it may say how to work on the
 * repository, but not which secrets of the worker a cell sees, nor where the state folder or Redis is.
 */
import { realpathSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { DEFAULTS } from './config/defaults.ts';
import { NO_PROJECT_FILE, type ProjectFile, readConfigFile, readProjectFile } from './config/files.ts';
import { isRecord } from './config/json.ts';
import { LEAVES, type SettingKey } from './config/leaves.ts';
import { type Settings, settingsSchema } from './config/schema.ts';
import { flawsOf, sayIssue } from './config/wording.ts';
import { type Fault, InvalidInput } from './errors.ts';

export { CONCURRENCY_CAP, DEFAULTS, LIMITS } from './config/defaults.ts';
export { type Host, hostsSchema, parseHost } from './config/hosts.ts';
export { isRecord, JSON_DEPTH_MAX, type Json, type JsonObject, jsonObject } from './config/json.ts';
export { LABELS_MAX, labelList, lackingLabels } from './config/labels.ts';
export type { SettingKey } from './config/leaves.ts';
export {
  CACHES,
  HOOKS,
  ISOLATION_LEVELS,
  LAND,
  loopRepeats,
  PROFILES,
  PYTHON,
  remoteName,
  type Settings,
  WORKSPACES,
} from './config/schema.ts';
export { sayIssue } from './config/wording.ts';

export interface SettingsSources {
  /** Flags by setting key (`limits.timeoutMs`), as typed; undefined is not given. */
  flags?: Partial<Record<SettingKey, unknown>>;
  /** The flag's name for faults, by setting key: `{ 'limits.timeoutMs': '--timeout-ms' }`. */
  flagNames?: Partial<Record<SettingKey, string>>;
  env?: NodeJS.ProcessEnv;
  /** Folder whose `cellpool.yaml` counts; left out: none is read. */
  repository?: string | undefined;
  /** A JSON or YAML file that is merged over the `opencode` section. */
  opencodeConfigFile?: string | undefined;
}

/**
 * Reads the settings from all their sources; what it returns is frozen, all levels of it.
 * @throws {InvalidInput} naming every fault with the flag, variable or key it stands in.
 */
export function loadSettings(sources: SettingsSources = {}): Settings {
  const faults: Fault[] = [];
  const { repository } = sources;
  const file = repository === undefined ? NO_PROJECT_FILE : readProjectFile(join(repository, 'cellpool.yaml'), faults);
  const { merged, origins } = merge(sources, file);
  if (sources.opencodeConfigFile !== undefined) {
    const extra = readConfigFile(sources.opencodeConfigFile, '--opencode-config', faults);
    if (isRecord(merged.opencode ?? {})) merged.opencode = mergeConfig(merged.opencode, extra);
  }
  const parsed = settingsSchema.safeParse(merged, { error: sayIssue });
  for (const { path, what } of (parsed.error?.issues ?? []).flatMap(flawsOf)) {
    const name = path.join('.');
    const leaf = LEAVES.find(one => name === one.key || name.startsWith(`${one.key}.`));
    const origin = (leaf && origins.get(leaf.key)) ?? name;
    if (typeof origin === 'string') faults.push({ where: origin, what });
    else faults.push({ where: origin.placeOf(path), what: `"${name}" ${what}` });
  }
  if (!parsed.success || faults.length > 0) throw new InvalidInput(faults);
  return deepFreeze({ ...parsed.data, prefix: prefixOf(parsed.data), home: withoutLinks(resolve(parsed.data.home)) });
}

/** A script may touch keys of one slot only, and in a Redis Cluster what stands in braces decides the slot. */
function prefixOf({ prefix, redisUrl = '' }: Settings): string {
  return /^rediss?\+cluster:/.test(redisUrl) ? `{${prefix}}` : prefix;
}

/** The first value of each leaf, and by leaf the flag, variable or file that gave it. */
function merge(sources: SettingsSources, file: ProjectFile) {
  const env = sources.env ?? process.env;
  const origins = new Map<string, string | ProjectFile>();
  const merged: Record<string, unknown> = {
    limits: {},
    author: {},
    env: {},
    reserve: {},
    isolation: {},
    retention: {},
    landing: {},
  };
  for (const { key, env: variable, file: mayHold } of LEAVES) {
    const candidates: [string | ProjectFile, unknown][] = [
      [sources.flagNames?.[key] ?? key, sources.flags?.[key]],
      // An empty variable is how a shell unsets one.
      [variable ?? key, variable === undefined || env[variable] === '' ? undefined : env[variable]],
      [file, mayHold ? at(file.content, key) : undefined],
      ['default', defaultOf(key, env)],
    ];
    const found = candidates.find(([, value]) => value !== undefined);
    if (found === undefined) continue;
    origins.set(key, found[0]);
    put(merged, key, found[1]);
  }
  return { merged, origins };
}

function defaultOf(key: string, env: NodeJS.ProcessEnv): unknown {
  if (key === 'home') return join(stateFolder(env), 'cellpool');
  if (key === 'host') return hostname().replace(/[^A-Za-z0-9._-]/g, '-') || 'localhost';
  if (key === 'prefix') return DEFAULTS.prefix;
  return undefined;
}

/**
 * The path as the system will tell it of what lies there: cells see it under no other name, and records of it are
 * compared. What is not there yet cannot be a link.
 */
function withoutLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path === dirname(path) ? path : join(withoutLinks(dirname(path)), basename(path));
  }
}

/** `$XDG_STATE_HOME`, or its default. A relative value is to be ignored, says the XDG specification. */
function stateFolder(env: NodeJS.ProcessEnv): string {
  const set = env.XDG_STATE_HOME;
  return set !== undefined && isAbsolute(set) ? set : join(env.HOME || homedir(), '.local', 'state');
}

/** Objects are merged key by key, anything else is replaced. */
export function mergeConfig(under: unknown, over: unknown): Record<string, unknown> {
  const result: Record<string, unknown> = isRecord(under) ? { ...under } : {};
  for (const [key, value] of Object.entries(isRecord(over) ? over : {})) {
    const below = Object.hasOwn(result, key) ? result[key] : undefined;
    result[key] = isRecord(value) && isRecord(below) ? mergeConfig(below, value) : value;
  }
  return result;
}

function at(tree: Record<string, unknown>, key: string): unknown {
  return key.split('.').reduce<unknown>((node, part) => (isRecord(node) ? node[part] : undefined), tree);
}

function put(tree: Record<string, unknown>, key: string, value: unknown): void {
  const [first = key, second] = key.split('.');
  const group = tree[first];
  if (second === undefined) tree[first] = value;
  else if (isRecord(group)) group[second] = value;
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}
