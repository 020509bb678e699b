/** A test command that prints gigabytes fills neither memory nor disk. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../../src/os/command.ts';

const MIB = 1024 * 1024;

test('four gigabytes of output leave eight megabytes of log, and as little in memory', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'output-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const logPath = join(folder, 'log');
  let most = 0;
  const before = process.memoryUsage().rss;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss - before);
  }, 50);
  const result = await runCommand('yes a line of some length | head -c 4G; echo; echo THE END', {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', CELL: 'prints' },
    logPath,
    timeoutMs: 9 * 60_000,
    marker: 'CELL=prints',
  }).finally(() => clearInterval(watch));
  expect(result).toMatchObject({ exitCode: 0, timedOut: false, logProblem: null });
  expect(result.tail.trimEnd()).toMatch(/THE END$/);
  expect(statSync(logPath).size).toBeLessThan(9 * MIB);
  expect(most).toBeLessThan(300 * MIB);
  process.stdout.write(`4 GB printed: ${Math.round(most / MIB)} MiB of memory at most\n`);
});
