/** What opencode knows of models, taken from the real program; servers that are told a part of it know that part alike. */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import getPort from 'get-port';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { prepareConfigFolder } from '../../src/cell/config-folder.ts';
import { makeCellFolders, serverEnvironment } from '../../src/cell/environment.ts';
import { type CatalogueOptions, ModelCatalogue } from '../../src/cell/model-catalogue.ts';
import { findOpencode } from '../../src/cell/opencode-binary.ts';
import { bootServer } from '../../src/cell/server.ts';
import { opencodeVersion } from '../../src/cell/spawner-site.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { Redactor } from '../../src/observe/redact.ts';
import { chooseIsolation } from '../../src/os/isolation.ts';
import { tempFolder, writeFiles } from '../support/repository.ts';

// Three servers are started beside those of other tests.
vi.setConfig({ testTimeout: 300_000 });

let binary: string;
let version: string;
beforeAll(async () => {
  binary = await findOpencode(process.env.OPENCODE_BIN);
  version = await opencodeVersion(binary);
});

const open = (home: string, more: Partial<CatalogueOptions> = {}) =>
  ModelCatalogue.open({ home, binary, version, passed: [], log: silentLogger, ...more });
const read = (path: string | null) => JSON.parse(readFileSync(path ?? '', 'utf8')) as Record<string, unknown>;
const described = { npm: '@ai-sdk/openai-compatible', models: { m: {} } };

/** What a server knows of providers that has this file of models; with null all that is in it. */
async function providersOfServer(models: string | null): Promise<Map<string, unknown>> {
  const folder = tempFolder('knows');
  writeFiles(folder, { 'workspace/a': '', 'artifacts/a': '' });
  const folders = await makeCellFolders(folder);
  const password = 'ours';
  const of = { cellId: 'knows', folders };
  const env = await serverEnvironment({
    ...{ ...of, configFolder: await prepareConfigFolder(folder, version), config: {}, password },
    ...{ model: undefined, login: null, profile: 'fast' as const, models, passed: [] },
  });
  const server = await bootServer({
    ...{ binary, env, password, workspacePath: join(folder, 'workspace'), artifacts: join(folder, 'artifacts') },
    port: await getPort({ host: '127.0.0.1' }),
    redactor: new Redactor(),
    bootMs: 120_000,
    grounds: { isolation: await chooseIsolation('process'), hidden: [], readable: [], standIns: '' },
    cell: { ...of, dir: folder, allowed: [] },
    log: silentLogger,
  });
  onTestFinished(() => server.stop(1_000));
  const { data } = await server.client.provider.list({}, { throwOnError: true });
  return new Map(data.all.map(provider => [provider.id, provider]));
}

test('is the same to the letter for servers that read it from a file, whole or in part', async () => {
  const catalogue = await open(tempFolder('home'));
  const part = await catalogue.fileFor({ small_model: 'openai/gpt-5-nano' }, 'anthropic/claude-sonnet-4-5');
  const [own, whole, some] = await Promise.all([
    providersOfServer(null),
    providersOfServer(join(catalogue.folder, 'all.json')),
    providersOfServer(part),
  ]);
  expect(own.size).toBeGreaterThan(100);
  expect([...whole].sort()).toEqual([...own].sort());
  expect([...some.keys()].sort()).toEqual(['anthropic', 'openai']);
  for (const [id, provider] of some) expect(provider, id).toEqual(own.get(id));
});

describe('a server is told', () => {
  test('of the provider of its model, and of those that its config describes or takes a model from', async () => {
    const catalogue = await open(tempFolder('home'));
    const config = {
      provider: { mine: described, groq: { options: {} } },
      small_model: 'openai/gpt-5-nano',
      agent: { review: { model: 'mistral/large' }, plan: { prompt: 'model' } },
    };
    const path = await catalogue.fileFor(config, 'anthropic/claude/with/slashes');
    expect(Object.keys(read(path))).toEqual(['anthropic', 'groq', 'mistral', 'openai']);
    // Asked again, and by another worker of this host, it is the same file.
    const { mtimeMs } = statSync(path ?? '');
    const again = [catalogue, await open(join(catalogue.folder, '..', '..'))];
    for (const one of again) expect(await one.fileFor(config, 'anthropic/claude')).toBe(path);
    expect(statSync(path ?? '').mtimeMs).toBe(mtimeMs);
  });

  test('of none, where its one provider stands in its config', async () => {
    const catalogue = await open(tempFolder('home'));
    expect(read(await catalogue.fileFor({ provider: { mine: described } }, 'mine/m'))).toEqual({});
  });

  test('of one that an agent of the config names in the other way', async () => {
    const catalogue = await open(tempFolder('home'));
    const agents = { review: { model: { providerID: 'openrouter', model: 'anthropic/claude-x' } } };
    const path = await catalogue.fileFor({ agents }, 'openai/gpt-5');
    expect(Object.keys(read(path))).toEqual(['anthropic', 'openai', 'openrouter']);
  });

  test.each(['OPENCODE_AUTH_CONTENT', 'OPENCODE_CONFIG', 'OPENCODE_CONFIG_DIR', 'OPENCODE_MODELS_PATH'])(
    'of all when the operator passes it %s',
    async name => {
      const catalogue = await open(tempFolder('home'), { passed: [name] });
      expect(await catalogue.fileFor({}, 'openai/gpt-5')).not.toBeNull();
      vi.stubEnv(name, '{}');
      onTestFinished(() => void vi.unstubAllEnvs());
      expect(await catalogue.fileFor({}, 'openai/gpt-5')).toBeNull();
    },
  );

  test('of all when the administrator of the machine has a config for opencode', async () => {
    const managed = join(tempFolder('etc'), 'opencode');
    const catalogue = await open(tempFolder('home'), { managed });
    expect(await catalogue.fileFor({}, 'openai/gpt-5')).not.toBeNull();
    mkdirSync(managed);
    expect(await catalogue.fileFor({}, 'openai/gpt-5')).toBeNull();
  });

  test.each([
    ['nobody names its model', {}, undefined],
    ['opencode derives its provider from another one', {}, 'github-copilot-enterprise/gpt-5'],
    ['the config adds to such a provider', { provider: { derived: { options: {} } } }, 'anthropic/claude'],
    ['an agent of the config uses one', { agent: { plan: { model: 'derived/x' } } }, 'anthropic/claude'],
  ])('of all when %s', async (_name, config, model) => {
    const catalogue = await open(tempFolder('home'));
    expect(await catalogue.fileFor(config, model)).toBeNull();
  });
});

test('of a program in which it is not found, or in which there is something else, nothing is left out', async () => {
  const folder = tempFolder('programs');
  const places = {
    none: 'x'.repeat(100),
    code: 'OPENCODE_MODELS_PATH??a,()=>({a:{id:"a",env:[],models:f()}})',
    other: 'OPENCODE_MODELS_PATH??a,()=>({a:{id:"a",name:"A",env:[],models:{}}})',
    elsewhere: `OPENCODE_MODELS_PATH??${' '.repeat(5_000)}()=>({a:{id:"a"`,
  };
  writeFiles(folder, places);
  for (const name of Object.keys(places)) {
    const catalogue = await open(join(folder, 'home'), { binary: join(folder, name), version: name });
    expect(await catalogue.fileFor({}, 'anthropic/claude'), name).toBeNull();
  }
});

test('another program that has taken the place of the one it was taken from is asked for nothing', async () => {
  const folder = tempFolder('programs');
  const program = join(folder, 'opencode');
  const known = `{id:"ID",name:"N",env:[],models:{m:{id:"m",name:"M"}}}`;
  const all = `{${['anthropic', 'openai'].map(id => `${id}:${known.replace('ID', id)}`).join()}}`;
  writeFiles(folder, { opencode: `OPENCODE_MODELS_PATH??a,b=()=>(${all})` });
  const catalogue = await open(join(folder, 'home'), { binary: program });
  expect(read(await catalogue.fileFor({}, 'openai/m'))).toEqual({
    openai: { id: 'openai', name: 'N', env: [], models: { m: { id: 'm', name: 'M' } } },
  });
  writeFiles(folder, { other: 'OPENCODE_MODELS_PATH' });
  renameSync(join(folder, 'other'), program);
  expect(await catalogue.fileFor({}, 'openai/m')).toBeNull();
});

test('what is kept of it is made anew when it is broken, and missed by nobody when it is gone', async () => {
  const home = tempFolder('home');
  const { folder } = await open(home);
  writeFileSync(join(folder, 'all.json'), '');
  const catalogue = await open(home);
  expect(Object.keys(read(await catalogue.fileFor({}, 'openai/gpt-5')))).toEqual(['openai']);
  rmSync(folder, { recursive: true });
  expect(await catalogue.fileFor({}, 'anthropic/claude')).toBeNull();
});

test('many who ask for it at once share one file that is whole', async () => {
  const home = tempFolder('home');
  const catalogues = await Promise.all(Array.from({ length: 4 }, () => open(home)));
  const paths = await Promise.all(catalogues.flatMap(one => [0, 1].map(() => one.fileFor({}, 'openai/gpt-5'))));
  expect(new Set(paths).size).toBe(1);
  expect(Object.keys(read(paths[0] ?? null))).toEqual(['openai']);
});
