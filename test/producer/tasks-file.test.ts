import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { InvalidInput } from '../../src/errors.ts';
import { taskIdFault } from '../../src/job/names.ts';
import { TASK_DEFAULTS, type TaskInput } from '../../src/job/task.ts';
import { formatOf, readTasks } from '../../src/producer/tasks-file.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tasks-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function faultsOf(reading: Promise<unknown>): Promise<string[]> {
  const error: unknown = await reading.catch((reason: unknown) => reason);
  if (!(error instanceof InvalidInput)) throw new Error('no InvalidInput', { cause: error });
  return error.faults.map(fault => `${fault.where}: ${fault.what}`);
}

const faultsIn = (name: string, text: string) => faultsOf(readTasks({ name, text }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const a = '{"id": "a", "prompt": "do it"}';
const b = '{"id": "b", "prompt": "do it"}';

describe('what is read', () => {
  test.each([
    ['t.jsonl', `${a}\r\n\r\n   \n${b}\r\n`, ['t.jsonl:1', 't.jsonl:4']],
    ['t.ndjson', `\uFEFF${a}\n${b}`, ['t.ndjson:1', 't.ndjson:2']],
    ['t.json', `[\n${a},\n${b}]`, ['t.json:2', 't.json:3']],
    ['t.JSON', `{"tasks":\n[${a},\n${b}\n]}`, ['t.JSON:2', 't.JSON:3']],
    ['t.yaml', '# mine\n- id: a\n  prompt: do it\n- {id: b, prompt: do it}\n', ['t.yaml:2', 't.yaml:4']],
    ['t.yml', 'tasks:\n- id: a\n  prompt: &p do it\n-\n  id: b\n  prompt: *p\n', ['t.yml:2', 't.yml:5']],
    ['t.yml', 'id: a\nprompt: do it\n---\nid: b\r\nprompt: do it\n---\n', ['t.yml:1', 't.yml:4']],
    ['no-ending', `${a}\n${b}\n`, ['no-ending:1', 'no-ending:2']],
  ])('%s %j holds two tasks, in order, each with its line', async (name, text, places) => {
    const tasks = await readTasks({ name, text });
    expect(tasks.map(({ where }) => where)).toEqual(places);
    const common = { prompt: 'do it', base: 'main', timeoutMs: 1_800_000, tokenBudget: 50_000, attempts: 3 };
    expect(tasks.map(({ task }) => task)).toEqual([
      { id: 'a', ...common },
      { id: 'b', ...common },
    ]);
  });

  test('a single object in a JSON file is one task', async () => {
    expect(await readTasks({ path: file('one.json', a) })).toHaveLength(1);
  });

  test('defaults fill what a task leaves out, and nothing else', async () => {
    const text = `${a}\n{"id": "b", "prompt": "do it", "base": "dev", "attempts": 1}`;
    const tasks = await readTasks({ name: 't.jsonl', text }, { attempts: 9, test: 'make check', model: undefined });
    expect(tasks.map(({ task }) => [task.attempts, task.test, task.base])).toEqual([
      [9, 'make check', TASK_DEFAULTS.base],
      [1, 'make check', 'dev'],
    ]);
    expect(tasks.map(({ baseGiven }) => baseGiven)).toEqual([false, true]);
    expect(tasks.every(({ task }) => !('model' in task))).toBe(true);
  });

  test('a pipe is read like a file', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const [tasks] = await Promise.all([
      readTasks({ path: pipe }),
      import('node:fs/promises').then(({ writeFile }) => writeFile(pipe, `${a}\n${b}\n`)),
    ]);
    expect(tasks.map(({ where }) => where)).toEqual([`${pipe}:1`, `${pipe}:2`]);
  });

  test.each([
    ['[', 'json'],
    [' \n[{"id"', 'json'],
    [a, 'json'],
    ['{"tasks": []}', 'json'],
    ['{\n  "tasks": [\n{"id": 1}\n]\n}', 'json'],
    [`{"tasks": [\n${a},\n${b}\n]}`, 'json'],
    [`${a}\n${b}`, 'jsonl'],
    [`{"id": oops}\n${b}`, 'jsonl'],
    ['- id: a', 'yaml'],
    ['{id: a, prompt: b}', 'yaml'],
    ['id: a', 'yaml'],
  ])('a text without a telling name that begins %j is %s', (text, format) => {
    expect(formatOf('stdin', text)).toBe(format);
  });
});

test('"-" reads standard input, and finds out its format', async () => {
  const stdin = vi.spyOn(process, 'stdin', 'get');
  try {
    for (const text of [`${a}\n${b}`, `[\n${a},\n${b}]`]) {
      const halves = [text.slice(0, 9), Buffer.from(text.slice(9))];
      stdin.mockReturnValue(Readable.from(halves) as typeof process.stdin);
      expect((await readTasks({ path: '-' })).map(({ where }) => where.slice(0, 6))).toEqual(['stdin:', 'stdin:']);
    }
  } finally {
    stdin.mockRestore();
  }
});

describe('what is refused', () => {
  test('all faults of a file are told at once, in the order of their lines', async () => {
    const text = [
      a,
      '{"id": "a b", "prompt": " "}',
      '{"id": "c", "prompt": "x", "promt": 1, "timeoutMs": "10"}',
      'nonsense',
      '[]',
      '{"id": "a", "prompt": "again"}',
      '{"id": "d", "id": "e", "prompt": "x"}',
      '{"prompt": "x", "base": "../up"}',
    ].join('\n');
    expect(await faultsIn('t.jsonl', text)).toEqual([
      't.jsonl:2: "id" is made of letters, digits, ".", "_" and "-" and begins with a letter or digit: "a b"',
      't.jsonl:2: "prompt" may not be empty',
      't.jsonl:3: "timeoutMs" must be a number, not "10"',
      't.jsonl:3: key "promt" is not known',
      't.jsonl:4: is no JSON: expected a value, found "n"',
      't.jsonl:5: a task is an object with at least "id" and "prompt"',
      't.jsonl:6: id "a" stands twice, first in line 1',
      't.jsonl:7: key "id" stands twice, first in line 7',
      't.jsonl:8: "id" is missing',
      't.jsonl:8: "base" is not a branch name that git accepts',
    ]);
  });

  test('JSON and YAML name the line of the key', async () => {
    expect(
      await faultsIn('t.json', '[{"id": "a",\n"prompt": "x",\n"attempts": 0,\n"metadata": {"x": 1},"y": 1}]'),
    ).toEqual(['t.json:3: "attempts" must be at least 1', 't.json:4: key "y" is not known']);
    expect(await faultsIn('t.yaml', '- id: a\n  prompt: x\n  base: 1.10\n- id: a\n  prompt:\n')).toEqual([
      't.yaml:3: "base" must be text, not 1.1: put it in quotes',
      't.yaml:4: id "a" stands twice, first in line 1',
      't.yaml:5: "prompt" must be text, not null',
    ]);
  });

  test.each([
    ['t.json', '[{"id": "a", "prompt": "x"},]', 't.json:1: is no JSON: expected a value, found "]"'],
    ['t.json', '', 't.json: is empty'],
    ['t.jsonl', ' \n\n', 't.jsonl: is empty'],
    ['t.yaml', '# nothing\n', 't.yaml: holds no task'],
    ['t.json', '[]', 't.json: holds no task'],
    ['t.json', '{"tasks": {}}', 't.json:1: "tasks" must be a list of tasks'],
    ['t.json', '{"tasks": [],\n"task": 1}', 't.json:2: key "task" is not known beside "tasks"'],
    ['t.json', '[{"__proto__": {"id": "a"}, "id": "a", "prompt": "x"}]', 't.json:1: key "__proto__" is refused'],
    ['t.jsonl', '{"id": "a", "prompt": "x", "metadata": {"__proto__": 1}}', 't.jsonl:1: key "__proto__" is refused'],
    ['t.yaml', 'id: a\nprompt: x\n__proto__: 1', 't.yaml:3: key "__proto__" is refused'],
    ['t.yaml', 'id: a\nprompt: x\nprompt: y', 't.yaml:3: key "prompt" stands twice, first in line 2'],
    ['t.yaml', 'id: a\n? [1]\n: x', 't.yaml:2: with stringKeys, all keys must be strings'],
    ['t.yaml', 'id: a\nprompt: *gone', 't.yaml:2: alias *gone names no anchor above it'],
    ['t.yaml', 'id: a\nprompt: !!js/function x', 't.yaml:2: unresolved tag: tag:yaml.org,2002:js/function'],
  ])('%s %j: %s', async (name, text, fault) => {
    expect(await faultsIn(name, text)).toContain(fault);
  });

  test('a missing file, a folder, and a file that is not UTF-8 are told with their name', async () => {
    const gone = join(folder, 'gone.jsonl');
    expect(await faultsOf(readTasks({ path: gone }))).toEqual([`${gone}: there is no such file`]);
    mkdirSync(join(folder, 'a.json'));
    const inside = join(folder, 'a.json');
    expect(await faultsOf(readTasks({ path: inside }))).toEqual([`${inside}: is a folder, not a file of tasks`]);
    expect(await faultsOf(readTasks({ path: join(folder, 'no\0name') }))).toHaveLength(1);

    const latin = file('latin.jsonl', Buffer.from(`${a}\n{"id": "b", "prompt": "caf\xe9"}\n`, 'latin1'));
    expect(await faultsOf(readTasks({ path: latin }))).toEqual([
      `${latin}: is not written in UTF-8`,
      `${latin}:2: holds bytes that are not UTF-8`,
    ]);
    const wide = file('wide.jsonl', Buffer.from(`\uFEFF${a}`, 'utf16le'));
    expect(await faultsOf(readTasks({ path: wide }))).toEqual([`${wide}: is written in UTF-16: save it as UTF-8`]);
  });

  test.skipIf(process.getuid?.() === 0)('a file that may not be read is told with its name', async () => {
    const path = file('secret.jsonl', a);
    chmodSync(path, 0);
    expect(await faultsOf(readTasks({ path }))).toEqual([`${path}: may not be read by this user`]);
  });

  test('a device without an end is given up at 64 MiB', async () => {
    expect(await faultsOf(readTasks({ path: '/dev/zero' }))).toEqual(['/dev/zero: is larger than 64 MiB']);
  });

  test('faulty defaults are told once, and not as a fault of every line', async () => {
    expect(await faultsOf(readTasks({ name: 't.jsonl', text: `${a}\n${b}` }, { attempts: 0 }))).toEqual([
      'defaults of the tasks: "attempts" must be at least 1',
    ]);
  });

  test('a file of nothing but faults is given up after the first thousand', async () => {
    const faults = await faultsIn('t.jsonl', 'x\n'.repeat(2_000));
    expect(faults).toHaveLength(1_001);
    expect(faults[0]).toBe('t.jsonl: has more than 1000 faults, only the first are listed');
    const keys = Array.from({ length: 20_000 }, (_, index) => `"k${index}": 1`).join(',');
    expect(await faultsIn('t.json', `{"id": "a", "prompt": "x", ${keys}}`)).toHaveLength(1_001);
  });
});

describe('what tries to break the reading', () => {
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x,x]',
    ...[...'bcdefghij'].map((name, index) => {
      const above = 'abcdefghi'[index];
      return `${name}: &${name} [${Array.from({ length: 10 }, () => `*${above}`).join(',')}]`;
    }),
  ].join('\n');

  test.each([
    ['aliases that unfold to ten billion values', bomb],
    ['an alias of itself', 'id: a\nprompt: x\nmetadata: &m\n  inner: *m\n'],
    ['two hundred thousand brackets', '['.repeat(200_000)],
    ['nested lists in one line', '- '.repeat(20_000)],
    ['nested explicit keys', '? '.repeat(20_000)],
    ['more than a million parts', '- a\n'.repeat(500_000)],
    ['more YAML than is read', `- ${'a'.repeat(9 * 1024 * 1024)}`],
  ])('%s in YAML are a fault', async (_name, text) => {
    expect((await faultsIn('t.yaml', text)).length).toBeGreaterThan(0);
  });

  test('metadata nested without end is a fault in each format', async () => {
    const deep = `{"id": "a", "prompt": "x", "metadata": ${'{"a":'.repeat(5_000)}1${'}'.repeat(5_001)}`;
    for (const name of ['t.jsonl', 't.json', 't.yaml']) {
      expect((await faultsIn(name, deep)).join()).toMatch(/nested (deeper|too deeply)/);
    }
  });

  test.each(['t.jsonl', 't.json', 't.yaml', 'stdin'])(
    'any garbage in %s is InvalidInput and nothing else',
    async name => {
      const bits = fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        '"',
        ':',
        ',',
        '- ',
        '\n',
        '&a',
        '*a',
        '!!',
        '|',
        '>',
        '---',
        '#',
      );
      const garbage = fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.json(),
        fc
          .array(
            fc.oneof(bits, bits, fc.constantFrom('id', 'prompt', 'tasks', '\0', '\t', '\u2028', '\\', "'", '%', '@')),
            {
              maxLength: 60,
            },
          )
          .map(parts => parts.join('')),
      );
      await fc.assert(
        fc.asyncProperty(garbage, async text => {
          expect((await faultsIn(name, text)).length).toBeGreaterThan(0);
        }),
        { numRuns: 300 },
      );
    },
  );

  test('any bytes in a file are InvalidInput and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom('jsonl', 'json', 'yaml', 'x'),
        async (bytes, end) => {
          expect((await faultsOf(readTasks({ path: file(`any.${end}`, bytes) }))).length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('what survives', () => {
  const text = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 40 })
    .filter(one => one.trim() !== '' && !one.includes('\0'));
  const id = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,30}$/).filter(one => taskIdFault(one) === null);
  // Whole characters only: half of a surrogate pair is no UTF-8 and JSON.stringify escapes it.
  const whole = text.filter(one => !/\p{Cs}/u.test(one));
  const line = whole.filter(one => !/[\r\n]/.test(one));
  const metadata = fc.dictionary(
    fc.string({ maxLength: 8 }).filter(key => key !== '__proto__'),
    fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), whole, fc.array(whole, { maxLength: 3 })),
  );
  const task: fc.Arbitrary<TaskInput> = fc.record(
    {
      id,
      prompt: whole,
      title: line,
      base: fc.constantFrom('main', 'dev', 'feature/x', 'v1.2'),
      test: whole,
      timeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
      tokenBudget: fc.integer({ min: 1 }),
      attempts: fc.integer({ min: 1, max: 100 }),
      priority: fc.integer({ min: 0, max: 2_097_151 }),
      model: fc.constantFrom('anthropic/claude', 'x/y/z'),
      agent: line,
      metadata: metadata.map(one => ({ ...one })),
    },
    { requiredKeys: ['id', 'prompt'] },
  );
  const tasks = fc.uniqueArray(task, { selector: one => one.id, minLength: 1, maxLength: 5 });

  test.each<[string, (tasks: TaskInput[]) => string]>([
    ['t.jsonl', all => all.map(one => JSON.stringify(one)).join('\n')],
    ['t.json', all => JSON.stringify(all)],
    ['t.json', all => JSON.stringify({ tasks: all }, null, 2)],
    ['t.yaml', all => stringify(all)],
    ['t.yml', all => all.map(one => stringify(one, { directives: true })).join('')],
    ['stdin', all => JSON.stringify(all, null, 1)],
    ['stdin', all => stringify(all)],
  ])('any valid tasks survive the way through %s unchanged', async (name, write) => {
    await fc.assert(
      fc.asyncProperty(tasks, async all => {
        const read = await readTasks({ path: file(name, write(all)) });
        const { base, timeoutMs, tokenBudget, attempts } = TASK_DEFAULTS;
        const wanted = all.map(one => ({ base, timeoutMs, tokenBudget, attempts, ...one }));
        expect(read.map(one => one.task)).toEqual(JSON.parse(JSON.stringify(wanted)));
      }),
      { numRuns: 60 },
    );
  });
});
