import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { BoundedLog } from '../../src/os/bounded-log.ts';
import { killStrays, startProcess } from '../../src/os/process.ts';
import { compiledRooms } from '../support/compiled.ts';
import { BOUND, hasProc, isAlive, own, PLAIN, program, tempFolder, WITHOUT_LEASH } from './support.ts';

const succeeds = (...[file, ...args]: [string, ...string[]]) => spawnSync(file, args).status === 0;

let compiled = '';
beforeAll(async () => {
  compiled = await compiledRooms('os', 'observe');
});
afterAll(() => rmSync(compiled, { recursive: true }));

/** Pids of the children that forks.mjs and the like have said. */
async function childrenOf(owned: { log: BoundedLog }, count: number): Promise<number[]> {
  const said = () => [...owned.log.tail().matchAll(/child (\d+)/g)].map(found => Number(found[1]));
  await vi.waitFor(() => expect(said()).toHaveLength(count), BOUND);
  return said();
}

describe('the start', () => {
  test('the program gets its arguments as they are, the folder, and exactly the listed environment', async () => {
    const folder = tempFolder();
    const odd = ['two words', '$(touch made-by-a-shell)', '*', '', '"quoted"'];
    const echo = await own(program('prints-arguments.mjs', ...odd), { cwd: folder });
    const env = { PATH: '/usr/bin:/bin', ONLY: 'this\nand that' };
    const shown = await own(program('prints-environment.mjs'), { env });
    await Promise.all([echo.exited, shown.exited]);
    await Promise.all([echo.stop(0), shown.stop(0)]);
    expect(JSON.parse(echo.log.tail())).toEqual(odd);
    expect(readdirSync(folder)).toEqual([]);
    const { __CF_USER_TEXT_ENCODING: _ofMacOs, ...seen } = JSON.parse(shown.log.tail());
    expect(seen).toEqual(env);
  });

  test.each<[string, [string, ...string[]], string, string]>([
    ['no such program', ['no-such-program-anywhere'], '.', 'ENOENT'],
    ['no such folder', [process.execPath], './nowhere', 'ENOENT'],
    ['a folder in place of a program', ['/'], '.', 'EACCES'],
    ['an argument that no program can be given', [process.execPath, 'a\0b'], '.', 'ERR_INVALID_ARG_VALUE'],
  ])('%s is told, and no log file stays open', async (_name, argv, cwd, code) => {
    const folder = tempFolder();
    const log = new BoundedLog(join(folder, 'output.log'));
    const start = startProcess(argv, { cwd: join(folder, cwd), env: PLAIN, log });
    await expect(start).rejects.toMatchObject({ code });
    expect(hasProc ? openFiles().filter(path => path.startsWith(folder)) : []).toEqual([]);
  });

  test('both outputs go to the log, which stays within its bounds', async () => {
    const both = await own(['/bin/sh', '-c', 'echo to stdout; echo to stderr >&2']);
    await both.exited;
    await both.stop(0);
    expect(readFileSync(both.logPath, 'utf8').split('\n').sort()).toEqual(['', 'to stderr', 'to stdout']);

    const endless = await own(program('prints-forever.mjs'), { headBytes: 5_000 });
    await vi.waitFor(() => expect(endless.log.tail(100_000).length).toBeGreaterThan(60_000), BOUND);
    await endless.stop(0);
    expect(readFileSync(endless.logPath).length).toBeLessThan(5_000 + 66_000);
  });

  test('what a program prints just before it ends is not lost', async () => {
    for (let round = 0; round < 20; round += 1) {
      const burst = await own(['/bin/sh', '-c', 'head -c 180000 /dev/zero; echo END']);
      await burst.exited;
      await burst.stop(0);
      expect(burst.log.tail(10)).toMatch(/END\n$/);
      expect(readFileSync(burst.logPath)).toHaveLength(180_004);
    }
  });

  function openFiles(): string[] {
    return readdirSync('/proc/self/fd').flatMap(name => {
      try {
        return [readlinkSync(`/proc/self/fd/${name}`)];
      } catch {
        // The handle of this listing itself.
        return [];
      }
    });
  }
});

describe('the end', () => {
  test('the exit code is told', async () => {
    const owned = await own(['/bin/sh', '-c', 'sleep 0.01; exit 7']);
    expect(owned.endedWith).toBeNull();
    expect(await owned.exited).toEqual({ exitCode: 7, signal: null });
    expect(owned.endedWith).toEqual({ exitCode: 7, signal: null });
  });

  test('the signal is told', async () => {
    const owned = await own(['/bin/sh', '-c', 'kill -USR1 $$; sleep 1000']);
    expect(await owned.exited).toEqual({ exitCode: null, signal: 'SIGUSR1' });
  });

  test('stop ends the whole group, also children that ignore SIGTERM', async () => {
    const owned = await own(program('forks.mjs'), WITHOUT_LEASH);
    const children = await childrenOf(owned, 2);
    expect([owned.pid, ...children].map(isAlive)).toEqual([true, true, true]);
    await owned.stop(2_000);
    expect([owned.pid, ...children].map(isAlive)).toEqual([false, false, false]);
    expect(owned.endedWith).toEqual({ exitCode: null, signal: 'SIGTERM' });
  });

  test('what an ended program left in its group is ended by stop', async () => {
    const owned = await own(program('forks.mjs', 'leave'), WITHOUT_LEASH);
    const children = await childrenOf(owned, 2);
    expect((await owned.exited).exitCode).toBe(0);
    expect(children.map(isAlive)).toEqual([true, true]);
    await owned.stop(0);
    expect(children.map(isAlive)).toEqual([false, false]);
  });

  test('one that ignores SIGTERM is killed after the grace', async () => {
    const owned = await own(program('ignores-sigterm.mjs'));
    await owned.says(/ready/);
    await owned.stop(2_000);
    expect(owned.endedWith).toEqual({ exitCode: null, signal: 'SIGKILL' });
    expect(owned.log.tail()).toContain('not now');
  });

  test('without a grace nothing is asked', async () => {
    const owned = await own(program('ignores-sigterm.mjs'));
    await owned.says(/ready/);
    await owned.stop(0);
    expect(owned.endedWith).toEqual({ exitCode: null, signal: 'SIGKILL' });
    expect(owned.log.tail()).not.toContain('not now');
  });

  test('a child that tidies up gets the grace though its shell goes at once', async () => {
    const folder = tempFolder();
    const file = join(folder, 'tidy');
    const owned = await own(['/bin/sh', '-c', '"$@" & wait', 'sh', ...program('tidies-up.mjs', file)]);
    await owned.says(/ready/);
    await owned.stop(BOUND.timeout);
    expect(existsSync(file)).toBe(true);
    expect(owned.endedWith).toEqual({ exitCode: null, signal: 'SIGTERM' });
  });

  test('stopping twice is one stop', async () => {
    const owned = await own(program('ignores-sigterm.mjs'));
    await owned.says(/ready/);
    await Promise.all([owned.stop(2_000), owned.stop(2_000), owned.stop(0)]);
    await owned.stop(2_000);
    expect(owned.log.tail().match(/not now/g)).toHaveLength(1);
  });

  test('stopping one that has ended long ago is harmless', async () => {
    const owned = await own(['/bin/true']);
    await owned.exited;
    await owned.stop(1_000);
    await owned.stop(1_000);
    expect(owned.endedWith).toEqual({ exitCode: 0, signal: null });
  });

  test.skipIf(!hasProc || !succeeds('perl', '-e', '1'))('a zombie in the group does not hang stop', async () => {
    // Its parent has left the group and never waits for it.
    const parent =
      'exit if !fork; setpgrp(0, 0); select undef, undef, undef, 0.1; $| = 1; print "parent $$\\n"; sleep 1000';
    const marker = 'CELL=with-a-zombie';
    const owned = await own(['/bin/sh', '-c', `perl -e '${parent}' & wait`], {
      env: { ...PLAIN, CELL: 'with-a-zombie' },
      ...WITHOUT_LEASH,
    });
    const pid = Number(await owned.says(/parent (\d+)/));
    await owned.stop(50);
    expect(isAlive(pid)).toBe(true);
    expect(await killStrays(marker, null)).toBe(1);
    expect(isAlive(pid)).toBe(false);
  });

  const ownPids = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'] as const;
  test.skipIf(!hasProc || !succeeds(...ownPids, '/bin/sh', '-c', 'test -w /proc/sys/kernel/ns_last_pid')).each([
    ['that ended', 'exit 0'],
    ['whose children outlived it', 'sleep 0.2 & exit 0'],
  ])('a stranger that got the number of a group %s is left alone', async (_name, command) => {
    const [file, ...args] = [...ownPids, '/bin/sh', '-c', '"$@"; exit $?', 'sh'];
    const recycles = program('recycles-a-group.mjs', compiled, tempFolder(), command);
    const { stdout } = await execa(file ?? '', [...args, ...recycles], { reject: false, timeout: 20_000 });
    expect(stdout).toBe('the stranger lives');
  });

  test.each(['exit', 'throw', 'reject'])('our own end (%s) takes the groups with it', async ending => {
    const owner = program('owns-a-group.mjs', compiled, tempFolder(), ending).slice(1);
    const { stdout, exitCode } = await execa(process.execPath, owner, { reject: false, timeout: 50_000 });
    const group = Number(/group (\d+)/.exec(stdout)?.[1]);
    expect(exitCode).toBe(ending === 'exit' ? 0 : 1);
    expect(group).toBeGreaterThan(1);
    await vi.waitFor(() => expect(groupExists(group)).toBe(false), BOUND);
  });

  function groupExists(group: number): boolean {
    try {
      process.kill(-group, 0);
      return (
        !hasProc ||
        readdirSync('/proc').some(name => /^\d+$/.test(name) && isAlive(Number(name)) && groupOf(name) === group)
      );
    } catch {
      return false;
    }
  }

  function groupOf(pid: string): number {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
  }
});
