/** The walk over src, and small made-up projects that show that the walk can fail. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { findBreaches, loadedAtStart, longFiles } from './support/floors.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function readSources(): Map<string, string> {
  const entries = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true });
  const paths = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name));
  return new Map(
    paths
      .filter(path => /\.[cm]?[jt]sx?$/.test(path))
      .sort()
      .map(path => [relative(root, path).split(sep).join('/'), readFileSync(path, 'utf8')]),
  );
}

test('src keeps to its floors', () => {
  const sources = readSources();
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const { path, lines } of longFiles(sources)) {
    process.stdout.write(`warning: ${path} has ${lines} lines; a file over 250 is usually two\n`);
  }
  const breaches = findBreaches(sources, new Set(Object.keys(dependencies)));
  expect(breaches.map(one => `${one.file}:${one.line}: ${one.what}`)).toEqual([]);
  expect(sources.size).toBeGreaterThan(0);
});

test('a command and its help are there before anything is loaded that does the work', () => {
  const { files, packages } = loadedAtStart(readSources(), 'src/cli/main.ts');
  expect(packages).toEqual(['commander']);
  expect(files).toContain('src/cli/commands/run.ts');
  expect(files.filter(file => !file.startsWith('src/cli/'))).toEqual(['src/errors.ts']);
});

/** The breaches of a made-up project, as `file:line: what`. */
function breachesOf(files: Record<string, string>, packages?: string[]): string[] {
  const found = findBreaches(new Map(Object.entries(files)), packages && new Set(packages));
  return found.map(one => `${one.file}:${one.line}: ${one.what}`);
}

describe('what is allowed', () => {
  test.each<[string, Record<string, string>]>([
    ['an import down', { 'src/cli/main.ts': "import '../errors.ts';", 'src/errors.ts': '' }],
    ['an import inside a room', { 'src/cell/a.ts': "import './b.ts';", 'src/cell/b.ts': '' }],
    ['rooms of floor 1 side by side', { 'src/redis/a.ts': "import '../job/b.ts';", 'src/job/b.ts': '' }],
    ['a split config', { 'src/config/a.ts': "import '../errors.ts';", 'src/errors.ts': '' }],
    ['the index imports a high room', { 'src/index.ts': "export * from './worker/a.ts';", 'src/worker/a.ts': '' }],
    ['an import in a comment', { 'src/job/a.ts': "// import '../cli/b.ts';\nexport {};", 'src/cli/b.ts': '' }],
    ['an import in a text', { 'src/job/a.ts': "export const x = `import '../cli/b.ts'`;", 'src/cli/b.ts': '' }],
    ['process.exit in cli', { 'src/cli/main.ts': 'process.exit(1);' }],
    ["another process's exit", { 'src/job/a.ts': 'export const ended = (x: X) => x.process.exit !== null;' }],
    ['process.exitCode', { 'src/job/a.ts': 'process.exitCode = 1;' }],
  ])('%s', (_name, files) => {
    expect(breachesOf(files)).toEqual([]);
  });
});

describe('what is a breach', () => {
  const up = 'src/job/a.ts:1: imports up: job (floor 1) imports src/cell/b.ts (floor 2)';

  test.each([
    ['import', "import { x } from '../cell/b.ts';"],
    ['import for its effect', "import '../cell/b.ts';"],
    ['import type', "import type { X } from '../cell/b.ts';"],
    ['export from', "export { x } from '../cell/b.ts';"],
    ['export type from', "export type { X } from '../cell/b.ts';"],
    ['export all', "export * from '../cell/b.ts';"],
    ['dynamic import', "export const x = import('../cell/b.ts');"],
    ['import among types', "export type X = import('../cell/b.ts').X;"],
  ])('up, by %s', (_name, text) => {
    expect(breachesOf({ 'src/job/a.ts': text, 'src/cell/b.ts': '' })).toEqual([up]);
  });

  test.each<[string, Record<string, string>, string]>([
    [
      'producer to worker',
      { 'src/producer/a.ts': "\nimport '../worker/b.ts';", 'src/worker/b.ts': '' },
      'src/producer/a.ts:2: producer imports its neighbour on floor 3: src/worker/b.ts',
    ],
    [
      'board to producer, type only',
      { 'src/board/a.ts': "import type { B } from '../producer/b.ts';", 'src/producer/b.ts': '' },
      'src/board/a.ts:1: board imports its neighbour on floor 3: src/producer/b.ts',
    ],
    [
      'cell to landing',
      { 'src/cell/a.ts': "import '../landing/b.ts';", 'src/landing/b.ts': '' },
      'src/cell/a.ts:1: cell imports its neighbour on floor 2: src/landing/b.ts',
    ],
    [
      'floor 0 to floor 1',
      { 'src/config.ts': "import './os/b.ts';", 'src/os/b.ts': '' },
      'src/config.ts:1: imports up: config.ts (floor 0) imports src/os/b.ts (floor 1)',
    ],
    [
      'to a test',
      { 'src/job/a.ts': "import '../../test/support/b.ts';" },
      'src/job/a.ts:1: reaches out of src, to test/support/b.ts',
    ],
    [
      'to the index',
      { 'src/cli/a.ts': "import '../index.ts';", 'src/index.ts': '' },
      'src/cli/a.ts:1: imports src/index.ts, which is for users of the library only',
    ],
    [
      'from the index to cli',
      { 'src/index.ts': "export * from './cli/a.ts';", 'src/cli/a.ts': '' },
      'src/index.ts:1: src/index.ts imports src/cli/a.ts: the library has no command line',
    ],
    [
      'to a file that is not there',
      { 'src/job/a.ts': "import './b.js';", 'src/job/b.ts': '' },
      'src/job/a.ts:1: imports src/job/b.js, which does not exist',
    ],
    [
      'dynamic import of a value',
      { 'src/job/a.ts': 'export const load = (x: string) => import(x);' },
      'src/job/a.ts:1: import() of something that is not written out cannot be checked',
    ],
    ['a room without a floor', { 'src/utils/a.ts': '' }, 'src/utils/a.ts:1: utils stands on no floor'],
    [
      'await using',
      { 'src/cell/a.ts': 'export async function f() {\n  await using x = g();\n  return x;\n}' },
      'src/cell/a.ts:2: `await using` is not used in src: a plain `return x()` beside it tears down before x has run; use the cleanup stack',
    ],
  ])('%s', (_name, files, breach) => {
    expect(breachesOf(files)).toEqual([breach]);
  });

  test.each([
    ['called', 'process.exit(1);'],
    ['as a value', 'export const stop = process.exit;'],
    ['by its name as a text', "process['exit'](1);"],
    ['through globalThis', 'globalThis.process.exit(1);'],
    ['taken apart', 'const { exit } = process; exit(1);'],
    ['imported', "import { exit } from 'node:process'; exit(1);"],
  ])('process.exit outside cli, %s', (_name, text) => {
    expect(breachesOf({ 'src/worker/a.ts': text })).toEqual(['src/worker/a.ts:1: process.exit outside src/cli']);
  });

  test('a circle of two files', () => {
    const files = { 'src/job/a.ts': "import './b.ts';", 'src/job/b.ts': "import './a.ts';" };
    expect(breachesOf(files)).toEqual([
      'src/job/b.ts:1: closes a circle: src/job/a.ts -> src/job/b.ts -> src/job/a.ts',
    ]);
  });

  test('a circle over rooms of floor 1, one side a type', () => {
    const files = {
      'src/job/a.ts': "import '../redis/b.ts';",
      'src/redis/b.ts': "import '../os/c.ts';",
      'src/os/c.ts': "import type { A } from '../job/a.ts';",
    };
    expect(breachesOf(files)).toEqual([
      'src/os/c.ts:1: closes a circle: src/job/a.ts -> src/redis/b.ts -> src/os/c.ts -> src/job/a.ts',
    ]);
  });

  test('a circle that is only closed when something is called', () => {
    const files = {
      'src/cli/a.ts': "import { b } from './b.ts';",
      'src/cli/b.ts': "export const b = async () => (await import('./a.ts')).a;",
    };
    expect(breachesOf(files)).toEqual([
      'src/cli/b.ts:1: closes a circle: src/cli/a.ts -> src/cli/b.ts -> src/cli/a.ts',
    ]);
  });

  test('a dynamic import of a neighbour, of a package nobody gets, of a name put together', () => {
    const files = {
      'src/worker/a.ts': [
        "export const one = () => import('../producer/b.ts');",
        "export const two = async () => (await import('vitest')).vi;",
        "export const three = (x: string) => import('../job/' + x);",
      ].join('\n'),
      'src/producer/b.ts': '',
    };
    expect(breachesOf(files, ['zod'])).toEqual([
      'src/worker/a.ts:1: worker imports its neighbour on floor 3: src/producer/b.ts',
      'src/worker/a.ts:2: imports vitest, which is not among the dependencies in package.json',
      'src/worker/a.ts:3: import() of something that is not written out cannot be checked',
    ]);
  });

  test('a file that imports itself', () => {
    expect(breachesOf({ 'src/job/a.ts': "import './a.ts';" })).toEqual([
      'src/job/a.ts:1: closes a circle: src/job/a.ts -> src/job/a.ts',
    ]);
  });

  test('a package that a user of the library does not get', () => {
    const files = {
      'src/job/a.ts': "import 'zod/v4'; import '@bull-board/api/x'; import 'vitest/node'; import 'node:fs';",
    };
    expect(breachesOf(files, ['zod', '@bull-board/api'])).toEqual([
      'src/job/a.ts:1: imports vitest, which is not among the dependencies in package.json',
    ]);
  });
});

test('what is loaded at the start is what is imported at once, by whatever form, and through others', () => {
  const files = {
    'src/cli/a.ts': [
      "import './b.ts';",
      "export { c } from './c.ts';",
      "import type { X } from './types.ts';",
      "export type { Y } from './types.ts';",
      "export type Z = import('./types.ts').Z;",
      "export const later = () => import('./later.ts');",
      "import 'node:fs';",
    ].join('\n'),
    'src/cli/b.ts': "import 'commander'; import './a.ts';",
    // The types are left out of the text, the import is not.
    'src/cli/c.ts': "import { type X } from './d.ts'; export const c = 1;",
    'src/cli/d.ts': '',
    'src/cli/types.ts': "import 'zod';",
    'src/cli/later.ts': "import 'bullmq';",
  };
  expect(loadedAtStart(new Map(Object.entries(files)), 'src/cli/a.ts')).toEqual({
    files: ['src/cli/a.ts', 'src/cli/b.ts', 'src/cli/c.ts', 'src/cli/d.ts'],
    packages: ['commander'],
  });
});

test('a long file is named with its length', () => {
  const files = new Map([
    ['src/job/a.ts', 'x\n'.repeat(250)],
    ['src/job/b.ts', 'x\n'.repeat(251)],
  ]);
  expect(longFiles(files)).toEqual([{ path: 'src/job/b.ts', lines: 251 }]);
});
