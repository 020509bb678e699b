/** A command in an isolation takes with it what it has started, whatever session or environment that gave itself. */
import { spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type CommandResult, runCommand } from '../../src/os/command.ts';
import type { Isolation } from '../../src/os/isolation.ts';
import { compiledRooms } from '../support/compiled.ts';
import { isolationHere } from '../support/isolation.ts';
import { BOUND, PLAIN, program, sleepers, tempFolder, uniqueName } from './support.ts';

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('os');
});
afterAll(() => rmSync(compiled, { recursive: true }));

/** Two sleeps, one of them a daemon, then `rest`; `name` is by what they are known, as seconds they sleep. */
const tree = (name: string, rest: string) =>
  `(env -i setsid /bin/sh -c 'trap "" TERM; sleep ${name} & wait' &) ; sleep ${name} & ${rest}`;

describe.each(['sandbox', 'strict'] as const)('a command at isolation %s', async level => {
  const found = await isolationHere(level);
  const isolation = found as Isolation;

  function start(command: string, signal?: AbortSignal): { folder: string; ended: Promise<CommandResult> } {
    const folder = tempFolder();
    const place = { id: 'a', cwd: folder, hidden: [], readable: [], writable: [folder], temp: null, sockets: [] };
    const ended = runCommand(command, {
      wrap: argv => isolation.enclose(argv, place),
      cwd: folder,
      env: { ...PLAIN, HELD: folder },
      logPath: join(folder, 'command.log'),
      timeoutMs: 60_000,
      signal,
      marker: `HELD=${folder}`,
    });
    return { folder, ended };
  }

  describe.skipIf(found === null)('where it works', () => {
    test('is believed by its exit code, and what it left in the background ends with it', async () => {
      const name = uniqueName();
      const { ended, folder } = start(tree(name, `until [ -e go ]; do sleep 0.1; done; echo out; exit 5`));
      await vi.waitUntil(() => sleepers(name).length === 2, BOUND);
      writeFileSync(join(folder, 'go'), '');
      expect(await ended).toMatchObject({ exitCode: 5, signal: null, timedOut: false, tail: 'out\n' });
      await vi.waitUntil(() => sleepers(name).length === 0, BOUND);
    });

    test('ends with all of it when it is cancelled', async () => {
      const name = uniqueName();
      const cancel = new AbortController();
      const { ended } = start(tree(name, 'trap "echo tidied; exit 3" TERM; wait'), cancel.signal);
      await vi.waitUntil(() => sleepers(name).length === 2, BOUND);
      cancel.abort();
      expect((await ended).exitCode).toBeNull();
      await vi.waitUntil(() => sleepers(name).length === 0, BOUND);
    });

    test('ends with all of it when the worker dies by SIGKILL', async () => {
      const name = uniqueName();
      const folder = tempFolder();
      const [file = '', ...args] = program('holds-a-command.mjs', compiled, level, folder, tree(name, 'wait'));
      const worker = spawn(file, args, { env: PLAIN, stdio: ['ignore', 'inherit', 'inherit'] });
      onTestFinished(() => void worker.kill('SIGKILL'));
      await vi.waitUntil(() => sleepers(name).length === 2, BOUND);
      worker.kill('SIGKILL');
      await vi.waitUntil(() => sleepers(name).length === 0, BOUND);
    });
  });
});
