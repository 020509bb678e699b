/** What opencode knows of models, taken from the real program; servers that are told a part of it know that part alike. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import getPort from 'get-port';
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { prepareConfigFolder } from '../../src/cell/config-folder.ts';
import { makeCellFolders, serverEnvironment } from '../../src/cell/environment.ts';
import { ModelCatalogue } from '../../src/cell/model-catalogue.ts';
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

const open = (home: string) => ModelCatalogue.open(home, binary, version, silentLogger);
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
    const again = [
      catalogue,
      await ModelCatalogue.open(join(catalogue.folder, '..', '..'), binary, version, silentLogger),
    ];
    for (const one of again) expect(await one.fileFor(config, 'anthropic/claude')).toBe(path);
    expect(statSync(path ?? '').mtimeMs).toBe(mtimeMs);
  });

  test('of none, where its one provider stands in its config', async () => {
    const catalogue = await open(tempFolder('home'));
    expect(read(await catalogue.fileFor({ provider: { mine: described } }, 'mine/m'))).toEqual({});
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
    const catalogue = await ModelCatalogue.open(join(folder, 'home'), join(folder, name), name, silentLogger);
    expect(await catalogue.fileFor({}, 'anthropic/claude'), name).toBeNull();
  }
});

test('many who ask for it at once share one file that is whole', async () => {
  const home = tempFolder('home');
  const catalogues = await Promise.all(Array.from({ length: 4 }, () => open(home)));
  const paths = await Promise.all(catalogues.flatMap(one => [0, 1].map(() => one.fileFor({}, 'openai/gpt-5'))));
  expect(new Set(paths).size).toBe(1);
  expect(Object.keys(read(paths[0] ?? null))).toEqual(['openai']);
});
