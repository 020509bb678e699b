import { closeSync, existsSync, openSync, rmSync } from 'node:fs';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { fixture, PLAIN } from '../os/support.ts';
import { compiledRooms } from '../support/compiled.ts';

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('os', 'observe');
});
afterAll(() => rmSync(compiled, { recursive: true }));

interface Line {
  bindings?: Record<string, unknown>;
  level?: string;
  facts?: Record<string, unknown>;
  message?: string;
}

async function logged(
  lines: Line[],
  {
    level = 'info',
    stderr = 'pipe',
    secrets = [],
  }: { level?: string; stderr?: 'pipe' | number; secrets?: string[] } = {},
) {
  const argv = [fixture('logs.mjs'), compiled, level, JSON.stringify(lines), JSON.stringify(secrets)];
  const stdio = ['ignore', 'pipe', stderr] as ['ignore', 'pipe', 'pipe'];
  const result = await execa(process.execPath, argv, { env: PLAIN, extendEnv: false, stdio, reject: false });
  const text = String(result.stderr ?? '');
  return {
    ...result,
    text,
    lines: text
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line)),
  };
}

describe('the lines', () => {
  test('are JSON, one a line, on stderr only, from the given level up', async () => {
    const { stdout, lines } = await logged([
      { message: 'two\nlines', facts: { cell: 'c', list: [1, null], tokens: 5 }, bindings: { task: 'fix-1' } },
      { message: 'unheard', level: 'debug' },
      { message: 'trouble', level: 'error', facts: { err: { fail: 'it broke', code: 'X' } } },
    ]);
    expect(stdout).toBe('done');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({
      level: 30,
      msg: 'two\nlines',
      task: 'fix-1',
      cell: 'c',
      list: [1, null],
      tokens: 5,
    });
    expect(lines[0]).toHaveProperty('pid');
    expect(lines[1]).toMatchObject({ level: 50, err: { message: 'it broke', code: 'X' } });
  });

  test.skipIf(!existsSync('/dev/full'))('that a full disk does not take end nobody', async () => {
    const full = openSync('/dev/full', 'w');
    onTestFinished(() => closeSync(full));
    const result = await logged([{ message: 'one' }, { message: 'two' }], { stderr: full });
    expect(result).toMatchObject({ exitCode: 0, stdout: 'done' });
  });
});

describe('a secret', () => {
  const SECRET = 'hunter2-hunter2';

  test.each<[string, Line]>([
    ['under a telling key', { facts: { password: SECRET } }],
    ['under a key of any spelling', { facts: { Authorization: SECRET, API_KEY: SECRET, 'set-cookie': SECRET } }],
    ['in an environment', { facts: { env: { HOME: '/', ANYTHING: SECRET } } }],
    ['under the name of a variable', { facts: { OPENCODE_SERVER_PASSWORD: SECRET, GITHUB_TOKEN: SECRET } }],
    ['deep within, and in lists', { facts: { a: { b: [{ c: { d: { e: { apiKey: SECRET } } } }] } } }],
    ['among the bindings of a child', { bindings: { token: SECRET, nested: { secret: SECRET } } }],
    ['in an error and what it carries', { facts: { err: { fail: `no: redis://me:${SECRET}@host`, apiKey: SECRET } } }],
    [
      'in a URL within a text',
      { message: `cannot reach redis://:${SECRET}@10.0.0.1:6379/0`, facts: { u: `https://me:${SECRET}@h/` } },
    ],
    ['in a header within a text', { message: `sent Authorization: Basic ${SECRET}==, then Bearer ${SECRET}` }],
    ['in an assignment within a text', { message: `ran with A_TOKEN=${SECRET} and PASSWORD=${SECRET}` }],
  ])('%s reaches no line', async (_name, line) => {
    const { text, lines } = await logged([line]);
    expect(lines).toHaveLength(1);
    expect(text).not.toContain(SECRET);
    expect(text).toContain('[redacted]');
  });

  test('that is known reaches no line, wherever and in whatever words it stands', async () => {
    const known = 'plain "words" of the worker';
    const lines = await logged(
      [{ message: `it says ${known}.`, facts: { a: [{ b: known }], err: { fail: known } }, bindings: { c: known } }],
      { secrets: [known, '12345678901234567890'] },
    );
    expect(lines.text).not.toContain('plain');
    expect(lines.lines).toMatchObject([{ msg: 'it says [redacted].', a: [{ b: '[redacted]' }], c: '[redacted]' }]);
    // A number stays one, whatever it looks like: the line must be JSON.
    const digits = await logged([{ facts: { n: 12345678 }, message: 'n' }], { secrets: ['12345678'] });
    expect(digits.lines).toMatchObject([{ n: 12345678 }]);
  });

  test('is not seen where there is none: counts and plain texts stay', async () => {
    const facts = {
      tokens: 12,
      tokensUsed: 3,
      tokenBudget: 50,
      url: 'http://127.0.0.1:4096/a@b',
      model: 'a/b',
      key: 'k',
    };
    const message = 'the basic idea: tokens = 5, mail me@host, 10:30@noon';
    const { lines } = await logged([{ facts, message }]);
    expect(lines[0]).toMatchObject({ ...facts, msg: message });
  });
});
