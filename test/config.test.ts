import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { settingsSchema } from '../src/config/schema.ts';
import { HOOKS, LIMITS, loadSettings, mergeConfig, type SettingsSources } from '../src/config.ts';
import { InvalidInput } from '../src/errors.ts';
import { hooksSchema } from '../src/job/hooks.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const load = (sources: SettingsSources = {}) => loadSettings({ env: {}, ...sources });

function faultsOf(sources: SettingsSources): string[] {
  try {
    load(sources);
    return [];
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    return error.faults.map(fault => `${fault.where}: ${fault.what}`);
  }
}

/** A repository with this `cellpool.yaml`. */
function repository(yaml: string): string {
  writeFileSync(join(folder, 'cellpool.yaml'), yaml);
  return folder;
}

describe('where a value comes from', () => {
  test('without anything, the defaults', () => {
    const settings = load({ env: { HOME: '/home/ann' }, repository: folder });
    expect(settings).toMatchObject({
      home: '/home/ann/.local/state/cellpool',
      prefix: 'cellpool',
      ports: { from: 9000, to: 9999 },
      limits: {
        timeoutMs: 1_800_000,
        tokenBudget: 50_000,
        attempts: 3,
        bootMs: 60_000,
        setupMs: 600_000,
        testMs: 600_000,
      },
      author: { name: 'cellpool', email: 'cellpool@localhost' },
      opencode: {},
      env: { server: [], commands: [] },
    });
    expect(settings.host).toMatch(/^[A-Za-z0-9._-]+$/);
    expect(settings).not.toHaveProperty('concurrency');
  });

  test('a flag goes before a variable, a variable before the file, the file before the default', () => {
    const sources = {
      repository: repository('model: file/m\nagent: file\ntest: file\nlimits: {attempts: 4}'),
      env: { CELLPOOL_MODEL: 'env/m', CELLPOOL_AGENT: 'env' },
      flags: { model: 'flag/m' },
    };
    expect(load(sources)).toMatchObject({ model: 'flag/m', agent: 'env', test: 'file', limits: { attempts: 4 } });
  });

  test('an empty variable and an undefined flag are as good as none', () => {
    const env = { CELLPOOL_MODEL: '', CELLPOOL_ATTEMPTS: '' };
    expect(load({ env, flags: { model: undefined, agent: 'a' } })).not.toHaveProperty('model');
    expect(load({ env }).limits.attempts).toBe(3);
  });

  test('texts of variables and flags become numbers, ranges and lists', () => {
    const env = {
      ...{ CELLPOOL_CONCURRENCY: ' 7 ', CELLPOOL_PORTS: '9100-9200', CELLPOOL_TEST_MS: '5' },
      ...{ CELLPOOL_SERVER_ENV: 'A_KEY, B_KEY,', CELLPOOL_COMMAND_ENV: 'CI' },
    };
    expect(load({ env, flags: { 'limits.bootMs': '9' } })).toMatchObject({
      concurrency: 7,
      ports: { from: 9100, to: 9200 },
      limits: { testMs: 5, bootMs: 9 },
      env: { server: ['A_KEY', 'B_KEY'], commands: ['CI'] },
    });
  });

  test('a limit of the host is a number, or none; a variable that a shell unset is neither', () => {
    expect(load().limits).toMatchObject({ memoryMb: 4096, pids: 1024, cpus: null, diskMb: 10_240 });
    const env = { CELLPOOL_MEMORY_MB: '0', CELLPOOL_PIDS: 'none', CELLPOOL_CPUS: '1.5', CELLPOOL_DISK_MB: '' };
    expect(load({ env }).limits).toMatchObject({ memoryMb: null, pids: null, cpus: 1.5, diskMb: 10_240 });
    expect(() => load({ env: { CELLPOOL_MEMORY_MB: '5', CELLPOOL_CPUS: 'all' } })).toThrow(
      /CELLPOOL_MEMORY_MB: .*256[\s\S]*CELLPOOL_CPUS: /,
    );
  });

  test('what is over is kept for a while, for as long as the operator says, or for ever', () => {
    const defaults = { artifactDays: 30, artifactsMb: 10_240, jobDays: 30, jobs: 10_000 };
    expect(load().retention).toEqual(defaults);
    const env = {
      CELLPOOL_ARTIFACT_DAYS: '0.5',
      CELLPOOL_ARTIFACTS_MB: '0',
      CELLPOOL_JOB_DAYS: 'none',
      CELLPOOL_JOBS: '7',
    };
    expect(load({ env }).retention).toEqual({ artifactDays: 0.5, artifactsMb: null, jobDays: null, jobs: 7 });
    const bad = { CELLPOOL_ARTIFACT_DAYS: '-1', CELLPOOL_ARTIFACTS_MB: '1.5', CELLPOOL_JOB_DAYS: 'many' };
    const faults = faultsOf({ env: bad }).join('\n');
    for (const name of Object.keys(bad)) expect(faults).toContain(`${name}: `);
    expect(faultsOf({ repository: repository('retention: {artifactDays: 1}') })).toEqual([
      'cellpool.yaml:1: key "retention.artifactDays" belongs to the operator: set it by a flag or CELLPOOL_ARTIFACT_DAYS',
    ]);
  });

  test('the state folder follows XDG, is absolute, and ignores a relative XDG folder', () => {
    expect(load({ env: { HOME: '/h', XDG_STATE_HOME: '/state' } }).home).toBe('/state/cellpool');
    expect(load({ env: { HOME: '/h', XDG_STATE_HOME: 'state' } }).home).toBe('/h/.local/state/cellpool');
    expect(load({ env: { CELLPOOL_HOME: 'mine' } }).home).toBe(resolve('mine'));
    expect(load({ env: { HOME: '' } }).home).toMatch(/^\//);
  });

  test('a file of opencode config is merged over the opencode section', () => {
    const path = join(folder, 'extra.json');
    writeFileSync(path, '{"provider": {"x": {"url": "http://a"}}, "list": [3]}');
    const yaml = 'opencode: {provider: {x: {url: old, key: k}}, list: [1, 2], theme: dark}';
    expect(load({ repository: repository(yaml), opencodeConfigFile: path }).opencode).toEqual({
      provider: { x: { url: 'http://a', key: 'k' } },
      list: [3],
      theme: 'dark',
    });
    expect(load({ opencodeConfigFile: path }).opencode).toMatchObject({ list: [3] });
  });

  test('settings cannot be changed, at no level', () => {
    const settings = load({ repository: repository('opencode: {a: {b: [1]}}') });
    const inner = settings.opencode.a as { b: number[] };
    expect(() => inner.b.push(2)).toThrow(TypeError);
    expect(() => Object.assign(settings.limits, { attempts: 9 })).toThrow(TypeError);
  });
});

describe('what is refused', () => {
  test('every fault is told at once, each with the flag, variable or key it stands in', () => {
    const faults = faultsOf({
      repository: repository('limits:\n  attempts: 0\n  tokens: 5\ntest: true\nhome: /tmp\nprefx: x\nauthor: me'),
      env: { CELLPOOL_CONCURRENCY: '51', CELLPOOL_PORTS: '9100-9000', CELLPOOL_TIMEOUT_MS: '30m' },
      flags: { model: 'claude', 'limits.bootMs': '-1' },
      flagNames: { model: '--model', 'limits.bootMs': '--boot-ms' },
    });
    expect(faults.sort()).toEqual(
      [
        'cellpool.yaml:7: "author" must hold keys and values',
        'cellpool.yaml:3: key "limits.tokens" is not known',
        'cellpool.yaml:5: key "home" belongs to the operator: set it by a flag or CELLPOOL_HOME',
        'cellpool.yaml:6: key "prefx" is not known',
        'cellpool.yaml:4: "test" must be text, not true: put it in quotes',
        'cellpool.yaml:2: "limits.attempts" must be at least 1',
        'CELLPOOL_CONCURRENCY: may be at most 50',
        'CELLPOOL_PORTS: must begin before it ends',
        'CELLPOOL_TIMEOUT_MS: must be a number, not "30m"',
        '--model: is written provider/model',
        '--boot-ms: must be a number, not "-1"',
      ].sort(),
    );
  });

  test('cells that are kept ready count with those at work', () => {
    const refusal = (concurrency: string, warm: string) => {
      return faultsOf({ env: { CELLPOOL_CONCURRENCY: concurrency }, flags: { warm }, flagNames: { warm: '--warm' } });
    };
    expect(load({ env: { CELLPOOL_CONCURRENCY: '45', CELLPOOL_WARM: '5' } })).toMatchObject({ warm: 5 });
    expect(load({ flags: { warm: '49' } })).toMatchObject({ warm: 49 });
    expect(refusal('45', '6')).toEqual(['--warm: may be at most 5 beside 45 cells at work: a worker has 50 at most']);
    expect(refusal('1', '50')).toEqual(['--warm: may be at most 49']);
    expect(refusal('1', '-1')).toEqual(['--warm: must be a number, not "-1"']);
  });

  test.each(['home', 'redisUrl', 'prefix', 'host', 'ports', 'opencodeBin', 'logLevel'])(
    'the repository may not set %s',
    key => {
      expect(faultsOf({ repository: repository(`${key}: x`) }).join()).toContain('belongs to the operator');
    },
  );

  test('the repository may not say which secrets a cell sees', () => {
    expect(faultsOf({ repository: repository('env: {server: [AWS_SECRET_ACCESS_KEY]}') })).toEqual([
      'cellpool.yaml:1: key "env.server" belongs to the operator: set it by a flag or CELLPOOL_SERVER_ENV',
    ]);
  });

  test('the repository may not say that agents work in worktrees of it', () => {
    expect(load({}).workspace).toBe('clone');
    expect(load({ env: { CELLPOOL_WORKSPACE: 'worktree' } }).workspace).toBe('worktree');
    expect(faultsOf({ repository: repository('workspace: worktree') })).toEqual([
      'cellpool.yaml:1: key "workspace" belongs to the operator: set it by a flag or CELLPOOL_WORKSPACE',
    ]);
    expect(faultsOf({ env: { CELLPOOL_WORKSPACE: 'copy' } }).join()).toMatch(/^CELLPOOL_WORKSPACE: .*clone.*worktree/);
  });

  test('the repository may say whom its cells call, and not how far they are kept apart or what they read', () => {
    const { isolation } = load({
      repository: repository('isolation: {allow: [registry.npmjs.org, "localhost:5432"]}'),
    });
    expect(isolation).toEqual({
      level: 'auto',
      readable: [],
      allow: [
        { host: 'registry.npmjs.org', port: 443 },
        { host: 'localhost', port: 5432 },
      ],
    });
    expect(faultsOf({ repository: repository('isolation: {level: process, readable: [/etc]}') })).toEqual([
      'cellpool.yaml:1: key "isolation.level" belongs to the operator: set it by a flag or CELLPOOL_ISOLATION',
      'cellpool.yaml:1: key "isolation.readable" belongs to the operator: set it by a flag or CELLPOOL_READABLE',
    ]);
  });

  test('the repository may say whether its cells get a Python environment, and whose downloads they begin with', () => {
    expect(load({})).toMatchObject({ python: 'auto', caches: 'cell' });
    const file = repository('python: off\ncaches: shared');
    expect(load({ repository: file })).toMatchObject({ python: 'off', caches: 'shared' });
    const env = { CELLPOOL_PYTHON: 'auto', CELLPOOL_CACHES: 'cell' };
    expect(load({ repository: file, env })).toMatchObject({ python: 'auto', caches: 'cell' });
    const faults = faultsOf({ repository: repository('python: on'), env: { CELLPOOL_CACHES: 'mine' } }).join('\n');
    expect(faults).toMatch(
      /cellpool\.yaml:1: "python" .*\nCELLPOOL_CACHES: |CELLPOOL_CACHES: .*\ncellpool\.yaml:1: "python" /,
    );
  });

  test.each(['a b', 'http://example.com', 'example.com:0', 'example.com:70000', '*', 'a*.b', '-x', '[::1', 'x/y', ''])(
    '%j is no host that a cell may call',
    host => {
      expect(faultsOf({ env: { CELLPOOL_ALLOW: `example.com,${host},` } }).join()).toContain('must be a list of hosts');
    },
  );

  test('levels and paths that are none are told by the variable that holds them', () => {
    const faults = faultsOf({ env: { CELLPOOL_ISOLATION: 'jail', CELLPOOL_READABLE: '/srv:relative' } }).join('\n');
    expect(faults).toMatch(/CELLPOOL_ISOLATION: .*strict/);
    expect(faults).toContain('CELLPOOL_READABLE: ');
  });

  test('the state folder is named without links, also where it is not there yet', () => {
    mkdirSync(join(folder, 'real'));
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    expect(load({ env: { CELLPOOL_HOME: join(folder, 'link', 'a', 'b') } }).home).toBe(
      join(realpathSync(folder), 'real', 'a', 'b'),
    );
  });

  test('the repository may not say how much of the host a cell may use', () => {
    expect(faultsOf({ repository: repository('limits: {memoryMb: 64000}') })).toEqual([
      'cellpool.yaml:1: key "limits.memoryMb" belongs to the operator: set it by a flag or CELLPOOL_MEMORY_MB',
    ]);
  });

  test.each([
    ['a list', '- a list', 'cellpool.yaml: must be an object with keys and values'],
    ['a text that does not end', 'test: "open', 'cellpool.yaml:1: missing closing "quote'],
    ['a key twice', 'test: a\ntest: b', 'cellpool.yaml:2: key "test" stands twice, first in line 1'],
    ['a prototype', 'opencode: {__proto__: {x: 1}}', 'cellpool.yaml:1: key "__proto__" is refused'],
    ['brackets without end', '['.repeat(200_000), 'cellpool.yaml:1: is nested deeper than 68 levels'],
    ['keys without end', '? '.repeat(200_000), 'cellpool.yaml:1: is nested deeper than 68 levels'],
    ['two documents', 'test: a\n---\ntest: b', 'cellpool.yaml:3: holds more than one document'],
    ['an alias of itself', 'opencode: &a {b: *a}', 'cellpool.yaml:1: is nested deeper than 68 levels'],
    ['more than a MiB', `test: ${'x'.repeat(1024 * 1024)}`, 'cellpool.yaml: is larger than 1048576 bytes'],
  ])('%s is a fault of cellpool.yaml', (_name, yaml, fault) => {
    expect(faultsOf({ repository: repository(yaml) })[0]).toContain(fault);
  });

  test('an empty file, an empty section and a file of comments are none', () => {
    expect(faultsOf({ repository: repository('') })).toEqual([]);
    expect(faultsOf({ repository: repository('# test: x\nlimits:\nauthor:\nhooks:\n') })).toEqual([]);
  });

  test('a cellpool.yaml that is a folder, or a link to a device, is refused and not read', () => {
    mkdirSync(join(folder, 'one/cellpool.yaml'), { recursive: true });
    expect(faultsOf({ repository: join(folder, 'one') })).toEqual(['cellpool.yaml: is not a file']);
    mkdirSync(join(folder, 'two'));
    symlinkSync('/dev/zero', join(folder, 'two/cellpool.yaml'));
    expect(faultsOf({ repository: join(folder, 'two') })).toEqual(['cellpool.yaml: is not a file']);
  });

  test('a missing opencode config file is told by the flag and the path', () => {
    const path = join(folder, 'gone.json');
    expect(faultsOf({ opencodeConfigFile: path })).toEqual([`--opencode-config: there is no file ${path}`]);
  });

  test('a fault of a hook is told with its line, whatever is wrong', () => {
    const yaml = [
      'hooks:',
      '  beforeSpawn: echo no',
      '  afterSpawn: "  "',
      '  beforeExecute:',
      '  afterExecute: 5',
      '  afterTests:',
      '    run: npm run report',
      '    timeoutMs: soon',
      '    retry: 3',
      '  onFailure: { timeoutMs: 0 }',
      '  beforeTeardown: { run: "", timeoutMs: 86400001 }',
      'limits:',
      '  hookMs: 0',
    ].join('\n');
    const wrong = 'must be a command, or an object with "run" and "timeoutMs"';
    expect(faultsOf({ repository: repository(yaml) }).sort()).toEqual(
      [
        'cellpool.yaml:2: "hooks.beforeSpawn" is not known',
        'cellpool.yaml:3: "hooks.afterSpawn" may not be empty',
        `cellpool.yaml:4: "hooks.beforeExecute" ${wrong}`,
        `cellpool.yaml:5: "hooks.afterExecute" ${wrong}`,
        'cellpool.yaml:8: "hooks.afterTests.timeoutMs" must be a number, not "soon"',
        'cellpool.yaml:9: "hooks.afterTests.retry" is not known',
        'cellpool.yaml:10: "hooks.onFailure.run" is missing',
        'cellpool.yaml:10: "hooks.onFailure.timeoutMs" must be at least 1',
        'cellpool.yaml:11: "hooks.beforeTeardown.run" may not be empty',
        'cellpool.yaml:11: "hooks.beforeTeardown.timeoutMs" may be at most 86400000',
        'cellpool.yaml:13: "limits.hookMs" must be at least 1',
      ].sort(),
    );
    expect(faultsOf({ repository: repository('test: a\nhooks: [a, b]') })).toEqual([
      'cellpool.yaml:2: "hooks" must be an object with keys and values, not a list',
    ]);
  });

  test('any text as cellpool.yaml gives settings or InvalidInput, and nothing else', () => {
    const bits = fc.constantFrom(
      'limits',
      'author',
      'env',
      'opencode',
      ': ',
      '\n',
      '- ',
      '{',
      '}',
      '[',
      ']',
      '&a',
      '*a',
      '"',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.array(bits).map(parts => parts.join('')),
    );
    fc.assert(
      fc.property(text, yaml => {
        faultsOf({ repository: repository(yaml) });
      }),
      { numRuns: 150 },
    );
  });
});

test('the hooks that settings may hold are those that a job may hold', () => {
  const all = Object.fromEntries(HOOKS.map(name => [name, { run: 'true', timeoutMs: LIMITS.timeoutMs }]));
  for (const schema of [settingsSchema.shape.hooks, hooksSchema]) {
    expect(schema.parse(all)).toEqual(all);
    expect(schema.safeParse({ other: 'true' }).success).toBe(false);
    expect(schema.safeParse({ afterSpawn: { run: 'true', timeoutMs: LIMITS.timeoutMs + 1 } }).success).toBe(false);
  }
});

test('merging replaces what is no object, and never reaches a prototype', () => {
  expect(mergeConfig({ a: [1], b: { c: 1 } }, { a: { d: 1 }, b: { e: 2 } })).toEqual({
    a: { d: 1 },
    b: { c: 1, e: 2 },
  });
  expect(mergeConfig(undefined, 5)).toEqual({});
  mergeConfig({}, JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}'));
  expect(({} as Record<string, unknown>).polluted).toBe(undefined);
});
