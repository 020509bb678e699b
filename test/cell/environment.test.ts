import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cellMarker, commandEnvironment, makeCellFolders, serverEnvironment } from '../../src/cell/environment.ts';
import { tempFolder } from '../support/repository.ts';

const folders = { home: '/cell/home', temp: '/cell/tmp' };
const facts = { taskId: 'task-1', agentId: 'agent-1' };
const server = (changes: Partial<Parameters<typeof serverEnvironment>[0]> = {}) =>
  serverEnvironment({
    cellId: 'cell-1',
    folders,
    configFolder: '/config',
    config: { share: 'disabled' },
    password: 'pass-word',
    model: undefined,
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

test("a cell's folders are its owner's alone", async () => {
  const cell = tempFolder('cell');
  const made = await makeCellFolders(cell);
  expect(made).toEqual({ home: join(cell, 'home'), temp: join(cell, 'tmp') });
  for (const folder of Object.values(made)) expect(statSync(folder).mode & 0o777).toBe(0o700);
});
