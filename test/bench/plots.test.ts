import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { tempFolder } from '../support/repository.ts';

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const PERFORMANCE = at('docs/performance.md');
const named = () =>
  [...readFileSync(PERFORMANCE, 'utf8').matchAll(/\]\((plots\/[^)]+)\)/g)].map(([, path]) => path ?? '');

/** Draws what lies in `results`; the names of the pictures, and where they are. */
function draw(results: string): { folder: string; names: string[] } {
  const folder = join(tempFolder(), 'plots');
  execFileSync(process.execPath, [at('bench/plots.mjs')], {
    env: { PATH: process.env.PATH ?? '', RESULTS: results, PLOTS: folder },
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  return { folder, names: readdirSync(folder).sort() };
}

/** What is wrong with it as XML, as far as our own writer could get it wrong; null: nothing. */
function faultOf(svg: string): string | null {
  const open: string[] = [];
  for (const [tag] of svg.matchAll(/<[^>]*>/g)) {
    const [, end, name = '', attributes = '', alone] =
      /^<(\/?)([a-z]+)((?: [a-z:0-9-]+="[^"<&]*")*)(\/?)>$/.exec(tag) ?? [];
    if (name === '' || attributes.includes('NaN')) return tag;
    if (end === '/') {
      if (open.pop() !== name) return tag;
    } else if (alone === '') open.push(name);
  }
  const words = svg.replace(/<[^>]*>/g, '');
  if (/[<>]|&(?!#\d+;)/.test(words) || /NaN|undefined|Infinity/.test(words)) return words;
  return open.length === 0 && svg.startsWith('<svg xmlns=') ? null : `open: ${open.join(' ')}`;
}

test('the kept results are drawn as well-formed pictures, and those in the docs are the same', () => {
  const { folder, names } = draw(at('bench/results'));
  expect(names).toContain('density.svg');
  for (const name of names) {
    const svg = readFileSync(join(folder, name), 'utf8');
    expect(faultOf(svg)).toBe(null);
    expect(existsSync(at(`docs/plots/${name}`)) ? readFileSync(at(`docs/plots/${name}`), 'utf8') : null).toBe(svg);
  }
});

test('every kind of result is drawn, with names that have to be escaped', () => {
  const results = tempFolder();
  cpSync(at('bench/results'), results, { recursive: true });
  const rows = (...keys: string[]) =>
    [1, 10].map(step => ({ at: step, ...Object.fromEntries(keys.map(key => [key, step + 0.5])) }));
  const made = {
    growth: {
      cells: { rows: rows('ownCpuMs') },
      queued: { rows: rows('fillMs', 'addMs', 'nextBeginsMs', 'nextBeginsP95Ms') },
      files: { rows: rows('spawnRatio', 'settleRatio', 'removeRatio').slice(1) },
    },
    backlog: { 'shell loop': { tasksPerHour: 0 }, cellpool: { tasksPerHour: 700 } },
    workspace: { sizes: [{ files: '<100> & "more"', ways: [{ way: 'ours', ready: { p50Ms: 40.5 } }] }] },
  };
  mkdirSync(results, { recursive: true });
  for (const [name, result] of Object.entries(made)) {
    writeFileSync(join(results, `${name}.json`), JSON.stringify(result));
  }
  const { folder, names } = draw(results);
  expect(names).toEqual(expect.arrayContaining(Object.keys(made).map(name => `${name}.svg`)));
  for (const name of names) expect([name, faultOf(readFileSync(join(folder, name), 'utf8'))]).toEqual([name, null]);
});

test('every picture that the docs name is there, and every one that is there is named', () => {
  const paths = named();
  expect(paths.length).toBeGreaterThan(0);
  for (const path of paths) expect([path, existsSync(join(dirname(PERFORMANCE), path))]).toEqual([path, true]);
  expect([...new Set(paths)].sort()).toEqual(
    readdirSync(at('docs/plots'))
      .map(name => `plots/${name}`)
      .sort(),
  );
});
