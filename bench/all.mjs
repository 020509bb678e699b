// All benchmarks (the npm scripts `bench:*`) one after another, each with its own output, and a table of them at the
// end. One that fails does not keep the next from running; the exit code is 1 when one failed or missed a bar.
// Run `npm run bench` (some hours), or with ONLY=spawn,port-lease. Benchmarks take the same variables as by themselves.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { barsIn } from './lib/bars.mjs';
import { RESULTS, round } from './lib/figures.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const PREFIX = 'bench:';
/** It measures nothing. */
const NOT_MEASURED = ['plots'];

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const known = Object.keys(scripts)
  .filter(name => name.startsWith(PREFIX))
  .map(name => name.slice(PREFIX.length))
  .filter(name => !NOT_MEASURED.includes(name));
const names = process.env.ONLY ? process.env.ONLY.split(',') : known;
const strange = names.filter(name => !known.includes(name));
if (strange.length > 0) {
  process.stderr.write(`no such benchmark: ${strange.join(', ')}; there are ${known.join(', ')}\n`);
  process.exit(2);
}

/** When each result was last kept, in milliseconds. */
function kept() {
  const files = existsSync(RESULTS) ? readdirSync(RESULTS).filter(name => name.endsWith('.json')) : [];
  return new Map(files.map(name => [name, statSync(join(RESULTS, name)).mtimeMs]));
}

async function run(name) {
  process.stdout.write(`\n=== ${name} ===\n`);
  const before = kept();
  const began = performance.now();
  const child = spawn('npm', ['run', '--silent', `${PREFIX}${name}`], { cwd: root, stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  const seconds = round((performance.now() - began) / 1_000);
  const results = [...kept()].filter(([file, at]) => before.get(file) !== at).map(([file]) => file);
  const bars = results.flatMap(file => barsIn(JSON.parse(readFileSync(join(RESULTS, file), 'utf8'))));
  const missed = bars.filter(({ reached }) => !reached).map(({ bar }) => bar);
  return { name, code, seconds, results, bars: bars.length, missed };
}

function verdictOf({ code, bars, missed, results }) {
  if (code !== 0) return `FAILED (${code ?? 'killed'})`;
  if (missed.length > 0) return `MISSED ${missed.join(', ')}`;
  if (results.length === 0) return 'kept no result';
  return bars === 0 ? 'measured; it has no bar' : `reached (${bars})`;
}

const rows = [];
for (const name of names) rows.push(await run(name));
const width = Math.max(...rows.map(({ name }) => name.length));
process.stdout.write('\n=== All ===\n');
for (const row of rows) {
  process.stdout.write(`${row.name.padEnd(width)}  ${`${row.seconds} s`.padStart(7)}  ${verdictOf(row)}\n`);
}
process.exitCode = rows.every(({ code, missed }) => code === 0 && missed.length === 0) ? 0 : 1;
