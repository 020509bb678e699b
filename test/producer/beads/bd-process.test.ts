/**
 * How bd is started. In its place stands a small script where it has to hang, to be of another version, or to tell what
 * it was given: the real one does none of that when it is told to.
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { offeredLeashes } from '../../../src/os/leash.ts';
import { BdProcess } from '../../../src/producer/beads/bd-process.ts';
import { compiledRooms } from '../../support/compiled.ts';
import { tempFolder } from '../../support/repository.ts';

const BOUND = { timeout: 20_000 };
const VERSION = '[ "$1" = version ] && { echo "bd version 1.3.0 (stand-in)"; exit 0; }';
const PATH = process.env.PATH ?? '';

/** A script in place of bd; `script` is what it does but for telling its version. */
function standIn(script: string, version = VERSION): { folder: string; env: NodeJS.ProcessEnv } {
  const folder = tempFolder('bd');
  const program = join(folder, 'bd');
  writeFileSync(program, `#!/bin/sh\n${version}\n${script}\n`);
  chmodSync(program, 0o755);
  return { folder, env: { PATH, BD_BIN: program } };
}

async function start(script: string, more: { env?: NodeJS.ProcessEnv; timeoutMs?: number } = {}) {
  const { folder, env } = standIn(script);
  const { timeoutMs } = more;
  const options = { cwd: folder, env: { ...env, ...more.env }, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
  return { folder, bd: (await BdProcess.find(options)).bd };
}

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (reason: unknown) => reason,
  );

describe('bd is found', () => {
  test('where BD_BIN says, and on PATH else', async () => {
    const { folder, env } = standIn('exit 0');
    expect((await BdProcess.find({ cwd: folder, env })).bd.program).toBe(join(folder, 'bd'));
    const { bd } = await BdProcess.find({ cwd: folder, env: { PATH: `${folder}:${PATH}` } });
    expect(bd.program).toBe(join(folder, 'bd'));
  });

  test.each<[string, NodeJS.ProcessEnv]>([
    ['there is no `bd` on PATH', { PATH: '/nonexistent' }],
    ['BD_BIN names /nonexistent/bd', { PATH, BD_BIN: '/nonexistent/bd' }],
  ])('or missed: %s, with what to install', async (said, env) => {
    expect(await errorOf(BdProcess.find({ cwd: '/', env }))).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      exitCode: 3,
      message: expect.stringContaining(said),
      hint: expect.stringContaining('Install bd'),
    });
  });

  test('and not used when its version is known to do harm', async () => {
    const { folder, env } = standIn('exit 0', 'echo "bd version 0.55.4 (Homebrew)"');
    expect(await errorOf(BdProcess.find({ cwd: folder, env }))).toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
  });
});

describe('a call', () => {
  test('has the listed variables and no others', async () => {
    const env = {
      HOME: '/home/anna',
      BEADS_DIR: '/b/.beads',
      BD_ACTOR: 'no',
      AWS_SECRET_ACCESS_KEY: 'no',
      REDIS_URL: 'no',
    };
    const { bd, folder } = await start('env >env.txt; echo "[]"', { env });
    await bd.call(['ready']);
    const seen = readFileSync(join(folder, 'env.txt'), 'utf8').trim().split('\n');
    const shell = /^(PWD|OLDPWD|SHLVL|_)=/;
    expect(seen.filter(one => !shell.test(one)).sort()).toEqual(
      [
        ...['HOME=/home/anna', 'BEADS_DIR=/b/.beads', `PATH=${PATH}`, 'LC_ALL=C', 'NO_COLOR=1', 'BD_NO_PAGER=1'],
        ...['BD_NON_INTERACTIVE=1', 'BD_DISABLE_METRICS=1', 'BD_DISABLE_EVENT_FLUSH=1', 'DO_NOT_TRACK=1'],
      ].sort(),
    );
  });

  test('passes arguments as they are, in the folder of the repository, and has nothing to read', async () => {
    const { bd, folder } = await start('printf "%s\\n" "$PWD" "$@" >said.txt; cat >read.txt; echo "[]"');
    await bd.call(['show', '$(touch x)', 'a b']);
    expect(readFileSync(join(folder, 'said.txt'), 'utf8')).toBe(`${folder}\nshow\n$(touch x)\na b\n`);
    expect(readFileSync(join(folder, 'read.txt'), 'utf8')).toBe('');
    await bd.call(['comment'], { input: 'hällo\n' });
    expect(readFileSync(join(folder, 'read.txt'), 'utf8')).toBe('hällo\n');
  });

  test('begins when the one before it has ended', async () => {
    const { bd } = await start('mkdir busy || exit 9; sleep 0.2; rmdir busy; echo "[]"');
    const answers = await Promise.all([1, 2, 3].map(() => bd.call(['ready'])));
    expect(answers.map(({ answer }) => answer.ok)).toEqual([true, true, true]);
  });

  test('that gives no answer is ended, with what it said and what to do', async () => {
    const { bd } = await start('echo "waiting for the lock" >&2; sleep 600', { timeoutMs: 3_000 });
    expect(await errorOf(bd.call(['ready']))).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      message: expect.stringMatching(/bd ready .* within 3 s: waiting for the lock/),
      hint: expect.stringContaining('bd ready'),
    });
  });

  test('is ended with the reason of its signal', async () => {
    const { bd, folder } = await start('touch begun; sleep 600');
    const ending = new AbortController();
    const call = errorOf(bd.call(['ready'], { signal: ending.signal }));
    await vi.waitUntil(() => existsSync(join(folder, 'begun')), BOUND);
    const reason = new Error('no more');
    ending.abort(reason);
    expect(await call).toBe(reason);
    expect(await errorOf(bd.call(['ready'], { signal: ending.signal }))).toBe(reason);
  });

  test('leaves nothing that it started behind', async () => {
    const { bd, folder } = await start('sleep 600 & echo $! >pid.txt; echo "[]"');
    await bd.call(['ready']);
    const pid = Number(readFileSync(join(folder, 'pid.txt'), 'utf8'));
    await vi.waitUntil(() => !isAlive(pid), BOUND);
  });
});

const canTie = (await offeredLeashes()).some(({ level }) => level === 'parent-death-signal');

describe.skipIf(!canTie)('a bridge that dies by SIGKILL', () => {
  let compiled = '';
  beforeAll(async () => {
    compiled = await compiledRooms('producer/beads');
  });
  afterAll(() => rmSync(compiled, { recursive: true }));

  test('takes the bd along that is about to write', async () => {
    const { folder, env } = standIn('echo $$ >pid.txt; exec sleep 600');
    mkdirSync(join(folder, 'home'));
    const program = new URL('../../fixtures/asks-bd.mjs', import.meta.url).pathname;
    const bridge = spawn(process.execPath, [program, compiled, folder], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    onTestFinished(() => void bridge.kill('SIGKILL'));
    const said = join(folder, 'pid.txt');
    await vi.waitUntil(() => existsSync(said) && readFileSync(said, 'utf8').endsWith('\n'), BOUND);
    const pid = Number(readFileSync(said, 'utf8'));
    expect(isAlive(pid)).toBe(true);
    bridge.kill('SIGKILL');
    await vi.waitUntil(() => !isAlive(pid), BOUND);
  });
});

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
