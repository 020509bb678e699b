import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

const { barsIn } = (await import(at('bench/lib/bars.mjs'))) as {
  barsIn(result: unknown): { bar: string; reached: boolean }[];
};

test('a missed bar is found wherever a result tells of it', () => {
  expect(barsIn({ reached: true })).toEqual([{ bar: 'bar', reached: true }]);
  expect(barsIn({ bar: { ratio: 2, reached: false } })).toEqual([{ bar: 'bar', reached: false }]);
  expect(barsIn({ reached: { ratio: true, teardown: false } })).toEqual([
    { bar: 'ratio', reached: true },
    { bar: 'teardown', reached: false },
  ]);
  expect(barsIn({ sizes: [{ reached: true }, { reached: false }], rows: [1, null, 'x'] })).toEqual([
    { bar: 'sizes.0', reached: true },
    { bar: 'sizes.1', reached: false },
  ]);
});

test('every bench that is an npm script is one of all, and a name that is none is refused', () => {
  const env = { PATH: process.env.PATH ?? '', ONLY: 'no-such-bench' };
  const { status, stderr } = spawnSync(process.execPath, [at('bench/all.mjs')], { env, encoding: 'utf8' });
  const { scripts } = JSON.parse(readFileSync(at('package.json'), 'utf8')) as { scripts: Record<string, string> };
  const names = Object.keys(scripts).flatMap(name => (name.startsWith('bench:') ? [name.slice(6)] : []));
  expect(status).toBe(2);
  expect(stderr).toBe(
    `no such benchmark: no-such-bench; there are ${names.filter(name => name !== 'plots').join(', ')}\n`,
  );
});
