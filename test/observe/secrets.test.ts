import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  isSecretName,
  secretsOfEnvironment,
  secretsOfTree,
  secretsOfUrls,
  withoutCredentials,
} from '../../src/observe/secrets.ts';

const PEM = '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n';

describe('the name of a variable or key', () => {
  test.each(
    'GITHUB_TOKEN BD_TOKEN AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID NPM_CONFIG__AUTH DB_PASS apiKey api-key APIKEY clientSecret PGPASSWORD GOOGLE_CREDENTIALS tokens x-api-key refresh_token'.split(
      ' ',
    ),
  )('%s says that its value is secret', name => expect(isSecretName(name)).toBe(true));

  test.each('PATH PWD OLDPWD HOME KEYBOARD GIT_AUTHOR_NAME MONKEY_ISLAND COMPASS baseURL XKB keybinds'.split(' '))(
    '%s does not',
    name => expect(isSecretName(name)).toBe(false),
  );
});

describe('of an environment', () => {
  test('the values of telling names are secrets, whether a cell gets them or not', () => {
    const env = { GITHUB_TOKEN: 'ghp_abc123', AWS_SECRET_ACCESS_KEY: '/Ab/cDeFg+1234567', ABSENT_TOKEN: undefined };
    expect(secretsOfEnvironment(env)).toEqual(['ghp_abc123', '/Ab/cDeFg+1234567']);
  });

  test('the headers for a collector of traces are secrets, each for itself', () => {
    const found = secretsOfEnvironment({
      OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=team, x-api=0a1b2c3d4e5f',
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'Authorization=Basic%20dXNlcjpwYXNz',
    });
    expect(found).toEqual(expect.arrayContaining(['0a1b2c3d4e5f', 'dXNlcjpwYXNz']));
    expect(found).not.toContain('team');
  });

  test('what is short or plain is none, whatever its name', () => {
    const plain = [
      '1',
      'true',
      'abc123',
      'cellpool',
      'production',
      '4096',
      '1763850000000',
      '/usr/bin',
      process.execPath,
    ];
    for (const value of [...plain, '{env:MY_KEY}', '{file:~/.key}', '']) {
      expect(secretsOfEnvironment({ SOME_TOKEN: value, OTHER: value }, ['OTHER'])).toEqual([]);
    }
    // A path that is none here may be a key that begins with a slash.
    const path = join('/nonexistent', 'A1b2C3d4');
    expect(secretsOfEnvironment({ SOME_KEY: path })).toEqual([path]);
  });

  test('what an operator names for a cell is one if it looks like it', () => {
    const random = ['9f86d081884c7d659a2f', 'xK3vQ9mPz7Lw2Nb8', 'abc.d8f7a6s5d4f3.x', PEM.trim()];
    for (const value of random) {
      expect(secretsOfEnvironment({ ANYTHING: value }, ['ANYTHING'])).toEqual([value]);
      expect(secretsOfEnvironment({ ANYTHING: value })).toEqual([]);
    }
    const plain = [
      ...[
        'eu-central-1',
        'production-eu-west-1',
        'us-east5',
        '2026-11-22',
        '2024-05-01-preview',
        'my-company-resource1',
      ],
      ...[
        'anthropic/claude-sonnet-4-5',
        'https://api.example.com/v1/9f86d081884c7d65',
        'localhost:11434',
        '10.0.0.1:8080',
      ],
      ...['a sentence with the words abc123def456', '/opt/tool-9f86d081884c7d65/bin', '1.18.33', 'cells@example.com'],
    ];
    for (const value of plain) expect(secretsOfEnvironment({ ANYTHING: value }, ['ANYTHING'])).toEqual([]);
  });

  test('passwords of URLs are, in whatever variable they stand, and the rest of the URL is not', () => {
    const env = {
      REDIS_URL: 'redis://:p%40ss-w0rd@10.0.0.1:6379/0',
      HTTPS_PROXY: 'http://me:proxy-pass-1@proxy:3128',
      DATABASE_URL: 'postgres://app:pg-pass-123@db/app?sslmode=require',
      ORIGIN: 'https://ghp_0123456789abcdefABCD@github.com/a/b.git',
      PLAIN: 'https://git@github.com/a/b.git',
      WEBHOOK_URL: 'https://hooks.example.com/services/T0/B0/xyz',
    };
    expect(secretsOfEnvironment(env)).toEqual([
      ...['p%40ss-w0rd', 'p@ss-w0rd', 'proxy-pass-1', 'proxy-pass-1', 'pg-pass-123', 'pg-pass-123'],
      ...['ghp_0123456789abcdefABCD', 'ghp_0123456789abcdefABCD', 'https://hooks.example.com/services/T0/B0/xyz'],
    ]);
    expect(secretsOfUrls('cannot reach redis://me:4-pass-word@h and http://h/a@b')).toEqual([
      ...['4-pass-word', '4-pass-word'],
    ]);
  });

  test('a file of credentials in a variable is read', () => {
    const value = JSON.stringify({ type: 'service_account', project_id: 'my-project', private_key: PEM });
    expect(secretsOfEnvironment({ GOOGLE_CREDENTIALS: value })).toEqual([value, PEM.trim()]);
    expect(secretsOfEnvironment({ GOOGLE_CREDENTIALS: '{not JSON at all' })).toEqual(['{not JSON at all']);
  });
});

describe('of settings and stored logins', () => {
  test('keys, headers and environments are secrets, options are not', () => {
    const config = {
      provider: {
        one: { npm: '@ai-sdk/openai-compatible', options: { baseURL: 'http://h:1/v1', apiKey: 'key-0123' } },
        two: { options: { apiKey: '{env:TWO_KEY}', headers: { 'X-Team': '9f86d081884c7d659a2f' } } },
      },
      mcp: { tracker: { environment: { ANY: 'xK3vQ9mPz7Lw2Nb8', MODE: 'production' } } },
      model: 'one/model-9f86d081884c7d659a2f',
    };
    expect(secretsOfTree(config)).toEqual(['key-0123', '9f86d081884c7d659a2f', 'xK3vQ9mPz7Lw2Nb8']);
  });

  test('of a stored login every leaf that looks like one', () => {
    const login = {
      openai: { type: 'oauth', refresh: 'rt_abc-1', access: 'ey.J0.abc', expires: 1, accountId: 'f81d4fae7dec11d0' },
    };
    expect(secretsOfTree(login, { all: true })).toEqual(['rt_abc-1', 'ey.J0.abc', 'f81d4fae7dec11d0']);
  });
});

test.each([
  ['http://me:secret@proxy:3128', 'http://proxy:3128'],
  ['socks5h://token@proxy:1080/', 'socks5h://proxy:1080/'],
  ['me:s@cret@proxy:3128', 'proxy:3128'],
  ['http://proxy:3128/path/a@b', 'http://proxy:3128/path/a@b'],
  ['proxy:3128', 'proxy:3128'],
  ['', ''],
])('of the proxy %s a cell gets %s', (proxy, given) => expect(withoutCredentials(proxy)).toBe(given));
