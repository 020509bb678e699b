/**
 * What a cell's programs see of the world: a list, never the worker's own environment. The server gets the password,
 * the config and the credentials of its one provider; setup and test commands get none of these.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { secretsOfTree, withoutCredentials } from '../observe/secrets.ts';
import type { Profile } from '../os/memory.ts';
import { ENGINE } from './profile.ts';

/** Variables without a secret that programs need to work at all; proxies and certificates where a network wants them. */
const PLAIN = [
  'PATH',
  'LANG',
  'LC_ALL',
  'LC_CTYPE',
  'TZ',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'NO_PROXY',
  'no_proxy',
] as const;

/** They pass without user and password, unless an operator names them among the variables to pass. */
const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'] as const;

/** Where the jobs of all repositories are, and how to reach the tracker: no cell gets it, whoever names it. */
const NEVER = /^(REDIS_URL|OPENCODE_SERVER_PASSWORD|BD_.*|BEADS_.*)$/;

/** Where the well-known providers look for their key; others are named by `CELLPOOL_SERVER_ENV`. */
const PROVIDER_KEYS: Record<string, readonly string[]> = {
  anthropic: ['ANTHROPIC_API_KEY'],
  openai: ['OPENAI_API_KEY'],
  google: ['GOOGLE_GENERATIVE_AI_API_KEY', 'GEMINI_API_KEY'],
  openrouter: ['OPENROUTER_API_KEY'],
  opencode: ['OPENCODE_API_KEY'],
  groq: ['GROQ_API_KEY'],
  mistral: ['MISTRAL_API_KEY'],
  deepseek: ['DEEPSEEK_API_KEY'],
  xai: ['XAI_API_KEY'],
};

export interface CellFolders {
  home: string;
  temp: string;
}

/** The entry of the environment by which everything a cell starts is found again. */
export function cellMarker(cellId: string): string {
  return `CELLPOOL_CELL=${cellId}`;
}

/** Makes the folders that a cell's programs call their own. */
export async function makeCellFolders(cellDir: string): Promise<CellFolders> {
  const folders = { home: join(cellDir, 'home'), temp: join(cellDir, 'tmp') };
  await mkdir(folders.home, { recursive: true, mode: 0o700 });
  await mkdir(folders.temp, { recursive: true, mode: 0o700 });
  return folders;
}

function baseEnvironment(cellId: string, folders: CellFolders, more: readonly string[]): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PROXIES) {
    const value = process.env[name];
    if (value !== undefined) env[name] = withoutCredentials(value);
  }
  for (const name of [...PLAIN, ...more]) {
    const value = process.env[name];
    if (value !== undefined && !NEVER.test(name)) env[name] = value;
  }
  return {
    ...env,
    HOME: folders.home,
    TMPDIR: folders.temp,
    XDG_DATA_HOME: join(folders.home, '.local', 'share'),
    XDG_STATE_HOME: join(folders.home, '.local', 'state'),
    XDG_CACHE_HOME: join(folders.home, '.cache'),
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    CELLPOOL_CELL: cellId,
  };
}

/** The environment of setup and test commands. `CI` keeps tools from waiting for a person. */
export function commandEnvironment(
  cellId: string,
  folders: CellFolders,
  facts: { taskId: string; agentId: string } | null,
  passed: readonly string[],
): Record<string, string> {
  return {
    ...baseEnvironment(cellId, folders, passed),
    CI: 'true',
    ...(facts === null ? {} : { CELLPOOL_TASK_ID: facts.taskId, CELLPOOL_AGENT_ID: facts.agentId }),
  };
}

/** Nothing is downloaded, and nothing is read but what it is given. */
export const OPENCODE_SETTINGS = {
  OPENCODE_DISABLE_AUTOUPDATE: '1',
  OPENCODE_DISABLE_MODELS_FETCH: '1',
  OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
  OPENCODE_DISABLE_PROJECT_CONFIG: '1',
  OPENCODE_DISABLE_CLAUDE_CODE: '1',
  OPENCODE_DISABLE_FFF: '1',
  OPENCODE_EXPERIMENTAL_DISABLE_FILEWATCHER: '1',
} as const;

export interface ServerEnvironmentOptions {
  cellId: string;
  folders: CellFolders;
  configFolder: string;
  config: Record<string, unknown>;
  password: string;
  model: string | undefined;
  /** What `loginOf` gave for the model. */
  login: string | null;
  profile: Profile;
  /** File with what the server knows of models; null: all that opencode knows. */
  models: string | null;
  /** Names of further variables, from the operator. */
  passed: readonly string[];
}

/** The environment of the cell's server. Secrets stand here and nowhere else: no file, no argv. */
export async function serverEnvironment(options: ServerEnvironmentOptions): Promise<Record<string, string>> {
  const provider = providerOf(options.model);
  const { login: auth } = options;
  return {
    // What the operator passes by name counts more.
    ...ENGINE[options.profile],
    ...(options.models === null ? {} : { OPENCODE_MODELS_PATH: options.models }),
    ...baseEnvironment(options.cellId, options.folders, [...(PROVIDER_KEYS[provider] ?? []), ...options.passed]),
    XDG_CONFIG_HOME: options.configFolder,
    OPENCODE_SERVER_PASSWORD: options.password,
    OPENCODE_CONFIG_CONTENT: JSON.stringify(options.config),
    ...(auth === null ? {} : { OPENCODE_AUTH_CONTENT: auth }),
    ...OPENCODE_SETTINGS,
  };
}

/** The secrets of a server with this environment and config: its password, the stored login, keys in the config. */
export function secretsOfServer(env: Record<string, string>, config: Record<string, unknown>): string[] {
  const { OPENCODE_SERVER_PASSWORD: password = '', OPENCODE_AUTH_CONTENT: login = '{}' } = env;
  return [password, ...secretsOfTree(JSON.parse(login), { all: true }), ...secretsOfTree(config)];
}

/** The first part of `provider/model`, whose second one may hold further slashes; of none an empty name. */
export const providerOf = (model: string | undefined) => model?.split('/')[0] ?? '';

/**
 * What `opencode auth login` stored for the provider of this model, as JSON; null when there is nothing.
 * @throws {CellpoolError} SPAWN_FAILED when it cannot be understood
 */
export async function loginOf(model: string | undefined): Promise<string | null> {
  const provider = providerOf(model);
  const data = process.env.XDG_DATA_HOME || join(homedir(), '.local', 'share');
  const file = join(data, 'opencode', 'auth.json');
  const content = await readFile(file, 'utf8').catch(() => null);
  if (content === null) return null;
  const all = parsed(content, file);
  const entry = typeof all === 'object' && all !== null ? (all as Record<string, unknown>)[provider] : undefined;
  return entry === undefined ? null : JSON.stringify({ [provider]: entry });
}

function parsed(content: string, file: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    // The parser's own message would quote the file, and a key with it.
    throw new CellpoolError('SPAWN_FAILED', `the credentials of opencode are not JSON: ${file}`, {
      hint: 'Run opencode auth login again, or remove the file.',
    });
  }
}
