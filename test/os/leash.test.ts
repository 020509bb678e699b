import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { leashed, leashLevel, offeredLeashes } from '../../src/os/leash.ts';
import { compiledRooms } from '../support/compiled.ts';
import {
  BOUND,
  hasProc,
  isAlive,
  own,
  PLAIN,
  processesNaming,
  program,
  sleepers,
  tempFolder,
  uniqueName,
} from './support.ts';

const offered = (await offeredLeashes()).map(({ level }) => level);
const inNamespace = offered.includes('pid-namespace');
/** Runs a program as somebody without root, who owns the same files. */
const NO_ROOT = ['unshare', '--user', '--map-user=1000', '--map-group=1000', '--'];
const canLeaveRoot = process.getuid?.() === 0 && spawnSync('unshare', [...NO_ROOT.slice(1), 'true']).status === 0;

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('os');
});
afterAll(() => rmSync(compiled, { recursive: true }));

const children = (name: string) => sleepers(name).length;

async function startWorker(level: string, name: string, before: string[] = []) {
  const [file = '', ...args] = [...before, ...program('holds-a-tree.mjs', compiled, level, name)];
  const worker = spawn(file, args, { env: PLAIN, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void worker.kill('SIGKILL'));
  const leader = Number(/leader (\d+)/.exec(String(await once(worker.stdout, 'data')))?.[1]);
  return { worker, leader };
}

describe('the level', () => {
  test('is the strongest that works here', async () => {
    expect(await leashLevel()).toBe(offered[0]);
    expect(offered.at(-1)).toBe('none');
  });

  test.skipIf(hasProc)('is none where there is no Linux, and the program is started as it is', async () => {
    expect(await leashed(['true'], { env: {}, userNamespace: true })).toEqual({ argv: ['true'], tethered: false });
  });
});

describe.skipIf(!hasProc)('a worker that dies by SIGKILL', () => {
  const namespaces: [string, string[]][] = [['with root or as this user', []]];
  if (canLeaveRoot) namespaces.push(['without root', NO_ROOT]);

  test.skipIf(!inNamespace).each(namespaces)(
    'takes everything with it that is in a pid namespace, %s',
    async (_, before) => {
      const name = uniqueName();
      const { worker, leader } = await startWorker('pid-namespace', name, before);
      await vi.waitUntil(() => children(name) === 4, BOUND);
      worker.kill('SIGKILL');
      await vi.waitUntil(() => processesNaming(name).length === 0 && !isAlive(leader), BOUND);
    },
  );

  test.skipIf(!offered.includes('parent-death-signal'))(
    'takes the program with it that has a death signal',
    async () => {
      const name = uniqueName();
      const { worker, leader } = await startWorker('parent-death-signal', name);
      await vi.waitUntil(() => children(name) === 4, BOUND);
      worker.kill('SIGKILL');
      await vi.waitUntil(() => !isAlive(leader), BOUND);
    },
  );

  test.skipIf(!inNamespace)('leaves nothing either when it dies as the program is being started', async () => {
    const name = uniqueName();
    for (let round = 0; round < 5; round += 1) {
      const { worker, leader } = await startWorker('pid-namespace', name);
      worker.kill('SIGKILL');
      await vi.waitUntil(() => processesNaming(name).length === 0 && !isAlive(leader), BOUND);
    }
  });
});

describe('a program on a leash', () => {
  test.each<[string, { exitCode: number | null; signal: string | null }]>([
    ['exit 1', { exitCode: 1, signal: null }],
    ['exit 137', { exitCode: 137, signal: null }],
    ['exit 143', { exitCode: 143, signal: null }],
    ['kill -TERM $$', { exitCode: null, signal: 'SIGTERM' }],
    ['kill -KILL $$', { exitCode: null, signal: 'SIGKILL' }],
    ['kill -SEGV $$', { exitCode: null, signal: 'SIGSEGV' }],
  ])('that ends by %j is reported so', async (command, end) => {
    const owned = await own(['/bin/sh', '-c', command]);
    expect(await owned.exited).toEqual(end);
    await owned.stop(0);
    expect(owned.log.tail()).toBe('');
  });

  test.each<[string, Record<string, string>]>([
    ['that shells set themselves', { PWD: '/elsewhere', OLDPWD: '', SHLVL: '7', _: 'mine' }],
    ['whose names no shell passes on', { 'npm_config_@scope:registry': 'https://example.com', 'a.b': 'c' }],
  ])('has the listed variables and no others, also those %s', async (_name, more) => {
    const env = { PATH: PLAIN.PATH, ...more };
    const owned = await own(program('prints-environment.mjs'), { env });
    await owned.exited;
    await owned.stop(0);
    const { __CF_USER_TEXT_ENCODING: _ofMacOs, ...seen } = JSON.parse(owned.log.tail());
    expect(seen).toEqual(env);
  });

  test('is found though its path looks like a variable, and holds no handle but its outputs', async () => {
    const folder = join(tempFolder(), 'a=b');
    mkdirSync(folder);
    copyFileSync('/bin/ls', join(folder, 'list'));
    const outputs: string[] = [];
    for (const leash of ['full', 'none'] as const) {
      const owned = await own([join(folder, 'list'), '/dev/fd/'], { leash });
      expect((await owned.exited).exitCode).toBe(0);
      await owned.stop(0);
      outputs.push(owned.log.tail());
    }
    expect(outputs[0]).toMatch(/^0\n1\n2\n/);
    expect(outputs[0]).toBe(outputs[1]);
  });

  test.skipIf(!inNamespace)('takes along what left its group when it is stopped, or has ended by itself', async () => {
    for (const ending of ['sleep 1000', 'exit 0']) {
      const name = uniqueName();
      const leave = `(env -i setsid sleep ${name} &); nohup sleep ${name} & until [ -e go ]; do sleep 0.01; done; ${ending}`;
      const owned = await own(['/bin/sh', '-c', leave]);
      await vi.waitUntil(() => children(name) === 2, BOUND);
      mkdirSync(join(owned.folder, 'go'));
      if (ending === 'exit 0') expect(await owned.exited).toEqual({ exitCode: 0, signal: null });
      await owned.stop(BOUND.timeout);
      expect(processesNaming(name)).toEqual([]);
    }
  });

  test.skipIf(!inNamespace)(
    'ends when its leader is killed by somebody else, and the rest when it is stopped',
    async () => {
      const name = uniqueName();
      const owned = await own(['/bin/sh', '-c', `setsid sleep ${name} & sleep ${name} & wait`]);
      await vi.waitUntil(() => children(name) === 2, BOUND);
      process.kill(owned.pid, 'SIGKILL');
      expect(await owned.exited).toEqual({ exitCode: null, signal: 'SIGKILL' });
      await owned.stop(1_000);
      expect(processesNaming(name)).toEqual([]);
    },
  );

  test.skipIf(!inNamespace)('does not pile up the orphans that end before it', async () => {
    // Those that end before the first of the namespace is there for them stay until it ends, but they are few.
    const taken = 'until [ "$(cat /proc/1/comm)" = cat ]; do sleep 0.01; done';
    const orphans = 'for n in 1 2 3; do (sleep 0.01 &); done; sleep 0.1; grep -l "^State:.Z" /proc/[0-9]*/status; true';
    const owned = await own(['/bin/sh', '-c', `${taken}; ${orphans}`]);
    await owned.exited;
    await owned.stop(0);
    expect(owned.log.tail()).toBe('');
  });

  test('that is stopped as soon as it is started is gone', async () => {
    for (let round = 0; round < 10; round += 1) {
      const name = uniqueName();
      const owned = await own(['/bin/sh', '-c', `setsid sleep ${name} & wait`]);
      await owned.stop(round % 2 === 0 ? 0 : 1_000);
      if (inNamespace) expect(processesNaming(name)).toEqual([]);
    }
  });
});
