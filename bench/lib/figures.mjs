/** Figures of a benchmark: medians, the machine it ran on, and where the results are kept. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const round = (value, digits = 0) => Number(value.toFixed(digits));

export function percentile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}

export const median = values => percentile(values, 0.5);

/** `loadBefore` over the number of CPUs means that others had their share of the machine. */
export function machine() {
  return {
    cpus: cpus().length,
    memoryGiB: round(totalmem() / 1024 ** 3, 1),
    node: process.version,
    loadBefore: round(loadavg()[0], 2),
  };
}

/** `RESULTS=folder` has them elsewhere: a short trial shall not take the place of what was measured. */
export const RESULTS = resolve(process.env.RESULTS || fileURLToPath(new URL('../results', import.meta.url)));

export function keep(name, result) {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(join(RESULTS, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
}

/** Half, most and all of some milliseconds. */
export function spread(values, digits = 0) {
  return {
    n: values.length,
    p50Ms: round(median(values), digits),
    p95Ms: round(percentile(values, 0.95), digits),
    worstMs: round(Math.max(...values), digits),
  };
}
