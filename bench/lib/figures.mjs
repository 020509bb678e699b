/** Figures of a benchmark: medians, the machine it ran on, and where the results are kept. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';

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

export function keep(name, result) {
  const folder = new URL('../results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(result, null, 2)}\n`);
}
