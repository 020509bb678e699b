import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  cellMarker,
  commandEnvironment,
  loginOf,
  makeCellFolders,
  secretsOfServer,
  serverEnvironment,
} from '../../src/cell/environment.ts';
import { tempFolder } from '../support/repository.ts';

const folders = { home: '/cell/home', temp: '/cell/tmp' };
const facts = { taskId: 'task-1', agentId: 'agent-1' };
const server = async (changes: Partial<Parameters<typeof serverEnvironment>[0]> = {}) =>
  serverEnvironment({
    login: await loginOf(changes.model),
    cellId: 'cell-1',
    folders,
    configFolder: '/config',
    config: { share: 'disabled' },
    password: 'pass-word',
    model: undefined,
    profile: 'fast',
    models: null,
    passed: [],
    ...changes,
  });

beforeEach(() => {
  vi.stubEnv('CELLPOOL_CANARY', 'secret');
  vi.stubEnv('ANTHROPIC_API_KEY', 'key-a');
  vi.stubEnv('OPENAI_API_KEY', 'key-o');
  vi.stubEnv('AWS_PROFILE', 'profile');
  vi.stubEnv('XDG_DATA_HOME', '/nonexistent');
  vi.stubEnv('TZ', 'Europe/Vienna');
});
afterEach(() => vi.unstubAllEnvs());

describe('the environment of commands', () => {
  test('is a list: paths of the cell, the task, and what the machine needs', () => {
    const env = commandEnvironment('cell-1', folders, facts, []);
    expect(env).toMatchObject({
      PATH: process.env.PATH,
      TZ: 'Europe/Vienna',
      HOME: '/cell/home',
      TMPDIR: '/cell/tmp',
      CI: 'true',
      CELLPOOL_TASK_ID: 'task-1',
      CELLPOOL_AGENT_ID: 'agent-1',
    });
    expect(Object.entries(env).map(([name, value]) => `${name}=${value}`)).toContain(cellMarker('cell-1'));
    for (const name of ['CELLPOOL_CANARY', 'ANTHROPIC_API_KEY', 'OPENAI_API_KEY', 'AWS_PROFILE', 'USER']) {
      expect(env).not.toHaveProperty(name);
    }
    expect(Object.values(env).every(value => typeof value === 'string')).toBe(true);
  });

  test("holds what the operator names, but never instead of the cell's own", () => {
    vi.stubEnv('HOME', '/home/of/the/worker');
    const env = commandEnvironment('cell-1', folders, facts, ['AWS_PROFILE', 'HOME', 'NOT_SET_ANYWHERE']);
    expect(env).toMatchObject({ AWS_PROFILE: 'profile', HOME: '/cell/home' });
    expect(env).not.toHaveProperty('NOT_SET_ANYWHERE');
  });
});

describe('the environment of the server', () => {
  test('holds the password and the config, and no key without a provider', async () => {
    const env = await server();
    expect(env).toMatchObject({
      XDG_CONFIG_HOME: '/config',
      OPENCODE_SERVER_PASSWORD: 'pass-word',
      OPENCODE_CONFIG_CONTENT: '{"share":"disabled"}',
      CELLPOOL_CELL: 'cell-1',
    });
    expect(JSON.stringify(env)).not.toMatch(/secret|key-a|key-o|profile/);
    expect(env).not.toHaveProperty('OPENCODE_AUTH_CONTENT');
  });

  test('of a dense cell tells its engine to be content with less, and of a fast one nothing', async () => {
    const engine = async (profile: 'fast' | 'dense') =>
      Object.fromEntries(Object.entries(await server({ profile })).filter(([name]) => name.startsWith('BUN_')));
    expect(await engine('dense')).toEqual({
      BUN_JSC_useDFGJIT: '0',
      BUN_JSC_forceRAMSize: String(4 * 2 ** 30),
      BUN_JSC_smallHeapGrowthFactor: '1.55',
      BUN_JSC_mediumHeapGrowthFactor: '1.55',
      BUN_JSC_largeHeapGrowthFactor: '1.55',
      BUN_JSC_numberOfGCMarkers: '1',
    });
    expect(await engine('fast')).toEqual({});
    vi.stubEnv('BUN_JSC_forceRAMSize', '7');
    expect(await server({ profile: 'dense', passed: ['BUN_JSC_forceRAMSize'] })).toMatchObject({
      BUN_JSC_forceRAMSize: '7',
    });
  });

  test('names the file with its models, unless the operator names another one', async () => {
    expect(await server()).not.toHaveProperty('OPENCODE_MODELS_PATH');
    expect(await server({ models: '/models/a.json' })).toMatchObject({ OPENCODE_MODELS_PATH: '/models/a.json' });
    vi.stubEnv('OPENCODE_MODELS_PATH', '/mine.json');
    expect(await server({ models: '/models/a.json', passed: ['OPENCODE_MODELS_PATH'] })).toMatchObject({
      OPENCODE_MODELS_PATH: '/mine.json',
    });
  });

  test('holds the key of the one provider that is used, and what the operator names', async () => {
    const env = await server({ model: 'anthropic/some/model', passed: ['AWS_PROFILE'] });
    expect(env).toMatchObject({ ANTHROPIC_API_KEY: 'key-a', AWS_PROFILE: 'profile' });
    expect(env).not.toHaveProperty('OPENAI_API_KEY');
  });

  test('holds of the stored logins only that of the one provider', async () => {
    const data = tempFolder('data');
    mkdirSync(join(data, 'opencode'));
    const stored = { anthropic: { type: 'api', key: 'stored-a' }, openai: { type: 'api', key: 'stored-o' } };
    writeFileSync(join(data, 'opencode', 'auth.json'), JSON.stringify(stored));
    vi.stubEnv('XDG_DATA_HOME', data);
    const { OPENCODE_AUTH_CONTENT: auth } = await server({ model: 'anthropic/m' });
    expect(JSON.parse(auth ?? '')).toEqual({ anthropic: stored.anthropic });
    expect(await server({ model: 'groq/m' })).not.toHaveProperty('OPENCODE_AUTH_CONTENT');
  });

  test('looks for stored logins in the home folder when XDG_DATA_HOME is empty', async () => {
    const home = tempFolder('home');
    mkdirSync(join(home, '.local/share/opencode'), { recursive: true });
    writeFileSync(join(home, '.local/share/opencode/auth.json'), '{"groq":{"type":"api","key":"stored-g"}}');
    vi.stubEnv('XDG_DATA_HOME', '');
    vi.stubEnv('HOME', home);
    expect((await server({ model: 'groq/m' })).OPENCODE_AUTH_CONTENT).toContain('stored-g');
  });

  test('names the file of stored logins when it cannot be read, and quotes nothing of it', async () => {
    const data = tempFolder('data');
    mkdirSync(join(data, 'opencode'));
    writeFileSync(join(data, 'opencode', 'auth.json'), 'stored-key,');
    vi.stubEnv('XDG_DATA_HOME', data);
    const refused = server({ model: 'anthropic/m' });
    await expect(refused).rejects.toThrow(join(data, 'opencode', 'auth.json'));
    await expect(refused).rejects.not.toThrow('stored-key');
  });
});

describe('of an environment full of secrets', () => {
  const secrets = {
    REDIS_URL: 'redis://:canary@10.0.0.1',
    BD_TOKEN: 'canary',
    BD_ACTOR: 'canary',
    BEADS_DIR: '/canary',
    BEADS_DOLT_PASSWORD: 'canary',
    GITHUB_TOKEN: 'canary',
    GH_TOKEN: 'canary',
    NPM_TOKEN: 'canary',
    SSH_AUTH_SOCK: '/canary',
    AWS_ACCESS_KEY_ID: 'canary',
    AWS_SECRET_ACCESS_KEY: 'canary',
    KUBECONFIG: '/canary',
    CELLPOOL_HOME: '/canary',
    CELLPOOL_PREFIX: 'canary',
    CELLPOOL_SERVER_ENV: 'CANARY',
    OPENCODE_SERVER_PASSWORD: 'canary',
    OPENCODE_CONFIG_CONTENT: '{"canary":true}',
    OPENCODE_AUTH_CONTENT: '{"canary":{}}',
    NODE_OPTIONS: '--require=/canary',
    LD_PRELOAD: '/canary',
    GIT_ASKPASS: '/canary',
    GIT_CONFIG_COUNT: '1',
    ALL_PROXY: 'http://canary@proxy',
    HTTP_PROXY: 'http://me:canary@proxy:3128',
    https_proxy: 'me:canary@proxy:3128',
  };
  beforeEach(() => {
    for (const [name, value] of Object.entries(secrets)) vi.stubEnv(name, value);
  });

  test('commands get the listed names and nothing else', () => {
    vi.stubEnv('LANG', 'C.UTF-8');
    const listed = [
      ...['PATH', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
      ...['NO_PROXY', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'],
      ...['HOME', 'TMPDIR', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_CACHE_HOME'],
      ...['GIT_CONFIG_NOSYSTEM', 'GIT_TERMINAL_PROMPT', 'CI'],
      ...['CELLPOOL_CELL', 'CELLPOOL_TASK_ID', 'CELLPOOL_AGENT_ID'],
    ];
    const env = commandEnvironment('cell-1', folders, facts, []);
    expect(Object.keys(env).filter(name => !listed.includes(name))).toEqual([]);
    expect(JSON.stringify(env)).not.toMatch(/canary/i);
  });

  test('the server gets its own password, config and login, and of the rest the same', async () => {
    const env = await server({ model: 'anthropic/m' });
    expect(JSON.stringify(env)).not.toMatch(/canary/i);
    expect(env.OPENCODE_SERVER_PASSWORD).toBe('pass-word');
    const own = Object.keys(env).filter(name => !(name in commandEnvironment('cell-1', folders, facts, [])));
    expect(own.filter(name => !/^OPENCODE_|^XDG_CONFIG_HOME$/.test(name))).toEqual(['ANTHROPIC_API_KEY']);
  });

  test('a proxy is passed without user and password, and with them when an operator names it', () => {
    expect(commandEnvironment('cell-1', folders, facts, [])).toMatchObject({
      HTTP_PROXY: 'http://proxy:3128',
      https_proxy: 'proxy:3128',
    });
    const { HTTP_PROXY } = secrets;
    expect(commandEnvironment('cell-1', folders, facts, ['HTTP_PROXY'])).toMatchObject({ HTTP_PROXY });
  });

  test("the Redis of the pool and another server's password reach no cell, whoever names them", async () => {
    const passed = ['REDIS_URL', 'OPENCODE_SERVER_PASSWORD'];
    expect(JSON.stringify(commandEnvironment('cell-1', folders, facts, passed))).not.toContain('canary@10');
    expect(commandEnvironment('cell-1', folders, facts, passed)).not.toHaveProperty('OPENCODE_SERVER_PASSWORD');
    expect(await server({ passed })).toMatchObject({ OPENCODE_SERVER_PASSWORD: 'pass-word' });
    expect(await server({ passed })).not.toHaveProperty('REDIS_URL');
  });

  test('nothing that leads to the tracker reaches a cell, whoever names it', async () => {
    const passed = Object.keys(secrets).filter(name => /^(BD|BEADS)_/.test(name));
    expect(passed).toHaveLength(4);
    for (const env of [commandEnvironment('cell-1', folders, facts, passed), await server({ passed })]) {
      expect(Object.keys(env).filter(name => passed.includes(name))).toEqual([]);
    }
  });
});

test('the secrets of a server are its password, the stored login and the keys in its config', async () => {
  const data = tempFolder('data');
  mkdirSync(join(data, 'opencode'));
  writeFileSync(join(data, 'opencode', 'auth.json'), '{"groq":{"type":"api","key":"stored-g-1"}}');
  vi.stubEnv('XDG_DATA_HOME', data);
  const config = { provider: { groq: { options: { apiKey: 'config-g-1', baseURL: 'http://h/v1' } } } };
  const env = await server({ model: 'groq/m', config });
  expect(secretsOfServer(env, config)).toEqual(['pass-word', 'stored-g-1', 'config-g-1']);
});

test("a cell's folders are its owner's alone", async () => {
  const cell = tempFolder('cell');
  const made = await makeCellFolders(cell);
  expect(made).toEqual({ home: join(cell, 'home'), temp: join(cell, 'tmp') });
  for (const folder of Object.values(made)) expect(statSync(folder).mode & 0o777).toBe(0o700);
});
