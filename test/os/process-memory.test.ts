import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { memoryOfGroups, memoryOfProcesses } from '../../src/os/process-memory.ts';
import { hasProc, tempFolder } from './support.ts';

const MIB = 1024 * 1024;

/** A process that has written to so many MiB and waits. */
async function holding(mib: number): Promise<number> {
  const program = `const held = Buffer.alloc(${mib} * 1048576, 1); console.log(held.length); setInterval(() => held, 1e6)`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise(resolve => child.once('exit', resolve));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  await new Promise(resolve => child.stdout.once('data', resolve));
  return child.pid ?? 0;
}

describe.skipIf(!hasProc)('of processes', () => {
  test('is what each has of its own, and once what they map from the same files', async () => {
    const [small, large] = [await holding(1), await holding(200)];
    const [ofSmall, ofLarge, ofBoth] = await Promise.all([[small], [large], [small, large]].map(memoryOfProcesses));
    expect(Number(ofLarge) - Number(ofSmall)).toBeGreaterThan(150 * MIB);
    // Node's own program is mapped by both.
    expect(Number(ofBoth)).toBeLessThan(Number(ofSmall) + Number(ofLarge));
    expect(Number(ofBoth)).toBeGreaterThan(Number(ofLarge));
  });

  test('is nothing for those that are gone', async () => {
    expect(await memoryOfProcesses([])).toBe(0);
    expect(await memoryOfProcesses([2 ** 30])).toBe(0);
  });
});

describe('of control groups', () => {
  /** Files as the kernel shows them, since not every machine lets us make groups. */
  function group(files: Record<string, string>): string {
    const folder = join(tempFolder(), 'group');
    mkdirSync(folder);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return folder;
  }

  test.each([
    ['version 2', { 'memory.current': '5000\n', 'memory.stat': 'anon 1000\ninactive_file 1500\n' }, 3_500],
    [
      'version 1',
      { 'memory.usage_in_bytes': '5000\n', 'memory.stat': 'inactive_file 1\ntotal_inactive_file 2000\n' },
      3_000,
    ],
    ['more cache than use', { 'memory.current': '10\n', 'memory.stat': 'inactive_file 1500\n' }, 0],
  ])('is what they have taken without the cache that goes at once, %s', async (_, files, bytes) => {
    expect(await memoryOfGroups([group({ 'pids.current': '3' }), group(files)])).toBe(bytes);
  });

  test('is not told where none counts memory, or all are gone', async () => {
    expect(await memoryOfGroups([])).toBeNull();
    expect(await memoryOfGroups([group({ 'pids.current': '3' }), join(tempFolder(), 'gone')])).toBeNull();
  });
});
