import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { onInterrupt } from '../../src/os/shutdown.ts';
import { compiledRooms } from '../support/compiled.ts';
import { BOUND, fixture, PLAIN } from './support.ts';

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('os', 'observe');
});
afterAll(() => rmSync(compiled, { recursive: true }));

function counter() {
  const child = spawn(process.execPath, [fixture('counts-interrupts.mjs'), compiled], { env: PLAIN });
  const ended = new Promise<string>(resolve => child.once('exit', (code, signal) => resolve(signal ?? `code ${code}`)));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let said = '';
  child.stdout.on('data', chunk => {
    said += chunk;
  });
  const says = (line: string) => vi.waitFor(() => expect(said.split('\n')).toContain(line), BOUND);
  return { child, ended, says };
}

test('the first signal asks, each later one insists, whichever they are', async () => {
  const { child, says } = counter();
  await says('ready null');
  child.kill('SIGTERM');
  await says('first SIGTERM of SIGTERM');
  child.kill('SIGINT');
  await says('again SIGINT of SIGTERM');
  child.kill('SIGHUP');
  await says('again SIGHUP of SIGTERM');
  child.kill('SIGTERM');
  await says('again SIGTERM of SIGTERM');
});

test('after dispose a signal ends the program as it ends any other', async () => {
  const { child, ended, says } = counter();
  await says('ready null');
  child.stdin.write('dispose\n');
  await says('disposed, 0 listeners');
  child.kill('SIGTERM');
  expect(await ended).toBe('SIGTERM');
});

test('there is one listener a signal, and none after dispose', () => {
  const count = () => (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(signal => process.listenerCount(signal));
  const before = count();
  const interrupts = onInterrupt(
    () => undefined,
    () => undefined,
  );
  expect(count()).toEqual(before.map(one => one + 1));
  expect(interrupts.received).toBeNull();
  interrupts.dispose();
  interrupts.dispose();
  expect(count()).toEqual(before);
});
