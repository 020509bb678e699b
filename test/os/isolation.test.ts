import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { chooseIsolation, type Isolation, type Place } from '../../src/os/isolation.ts';
import { run } from '../../src/os/run.ts';
import { isolationHere } from '../support/isolation.ts';
import { tempFolder } from './support.ts';

const PATH = process.env.PATH ?? '';

/** A cell's own folder beside another one's, below a state folder that is hidden. */
function place(more: Partial<Place> = {}): Place & { home: string; sibling: string } {
  const home = tempFolder();
  const folder = (name: string) => {
    mkdirSync(join(home, name), { recursive: true });
    return join(home, name);
  };
  const [cwd, temp, sibling] = [folder('cells/own/workspace'), folder('cells/own/tmp'), folder('cells/sibling')];
  writeFileSync(join(sibling, 'secret'), 'of the sibling');
  writeFileSync(join(cwd, 'file'), 'own');
  return {
    ...{ id: 'own.0123abcd', cwd, hidden: [home], readable: [], writable: [cwd, temp], temp, sockets: [] },
    ...more,
    ...{ home, sibling },
  };
}

async function inside({ enclose }: Isolation, where: Place, command: string): Promise<string> {
  const { stdout, stderr, exitCode } = await run(enclose(['/bin/sh', '-c', command], where), { env: { PATH } });
  return `${stdout}${stderr}${exitCode === 0 ? '' : `code ${exitCode}`}`.trim();
}

describe.each(['sandbox', 'strict'] as const)('isolation %s', async level => {
  const found = await isolationHere(level);
  const isolation = found as Isolation;

  describe.skipIf(found === null)('where it works', () => {
    test('shows the own folder, to be written to, and nothing else of the state folder', async () => {
      const where = place();
      expect(await inside(isolation, where, 'cat file; echo new >made; pwd')).toBe(`own${where.cwd}`);
      expect(readFileSync(join(where.cwd, 'made'), 'utf8')).toBe('new\n');
      expect(await inside(isolation, where, `ls ${where.home}/cells`)).toBe('own');
      expect(await inside(isolation, where, `cat ${where.sibling}/secret`)).toContain('No such file');
      expect(await inside(isolation, where, `echo x >${where.home}/x || mkdir ${where.sibling}`)).toContain(
        'Read-only',
      );
      expect(readdirSync(where.home)).toEqual(['cells']);
    });

    test('has temporary folders of its own, which end up in the cell', async () => {
      const where = place();
      expect(await inside(isolation, where, 'echo a >/tmp/a; cat /tmp/a; echo b >/var/tmp/b')).toBe('a');
      // Of folders that lie there and are shown, this repository's own perhaps, the places can be seen.
      const isPlace = (name: string) =>
        name.startsWith('cp-') || process.cwd().startsWith(`/tmp/${name}/`) || process.cwd() === `/tmp/${name}`;
      expect(
        readdirSync(where.temp ?? '')
          .filter(name => !isPlace(name))
          .sort(),
      ).toEqual(['a', 'b']);
      expect(existsSync('/tmp/a')).toBe(false);
    });

    test('without a folder for them there is none that can be written to', async () => {
      expect(await inside(isolation, place({ temp: null }), 'echo a >/tmp/a')).toContain('Read-only');
    });

    test('what is written into memory as files has a place of 256 MiB, and no other', async () => {
      const where = place();
      expect(await inside(isolation, where, 'touch /dev/a')).toContain('Read-only');
      expect(await inside(isolation, where, 'df -k --output=size /dev/shm | tail -n 1')).toMatch(/^\s*262144$/);
      expect(await inside(isolation, where, 'echo a >/dev/shm/a && cat /dev/shm/a')).toBe('a');
    });

    test('sees its own processes only, no private folder, and has no power over the system', async () => {
      const where = place();
      expect(await inside(isolation, where, 'ls /proc | grep -c "^[0-9]"')).toMatch(/^\d$/);
      expect(await inside(isolation, where, `kill -0 ${process.pid}`)).toMatch(/No such process/);
      expect(await inside(isolation, where, 'cat /etc/shadow')).toMatch(/^$|No such file|denied/);
      expect(await inside(isolation, where, 'touch /usr/x /etc/x')).toContain('Read-only');
      expect(await inside(isolation, where, 'mount -t tmpfs none /mnt || unshare -U true')).toMatch(/code [1-9]/);
      expect(await inside(isolation, where, 'hostname 2>/dev/null || cat /proc/sys/kernel/hostname')).toBe(
        'own-0123abcd',
      );
    });

    test('a program ends as it would outside: by its code, and by SIGTERM when it wants to', async () => {
      const where = place();
      expect(await inside(isolation, where, 'exit 7')).toBe('code 7');
      expect(await inside(isolation, where, 'trap "echo tidied; exit 3" TERM; kill -TERM $$; sleep 5')).toBe(
        'tidied\ncode 3',
      );
    });

    test('shows what the operator wants shown', async () => {
      const tools = tempFolder();
      writeFileSync(join(tools, 'tool'), 'a tool');
      const shown = await chooseIsolation(level, [tools]);
      expect(await inside(isolation, place(), `cat ${tools}/tool`)).toContain('No such file');
      expect(await inside(shown, place(), `cat ${tools}/tool`)).toBe('a tool');
    });
  });
});

test('what is asked for and does not work is an error that says what to install', async () => {
  vi.stubEnv('PATH', '/nonexistent');
  const asked = chooseIsolation('sandbox', ['/made/up/for/this/test']);
  if (existsSync('/usr/bin/bwrap')) {
    expect(await asked).toMatchObject({ level: 'sandbox' });
    return;
  }
  await expect(asked).rejects.toMatchObject({ code: 'ISOLATION_MISSING', hint: expect.stringContaining('bubblewrap') });
  expect(await chooseIsolation('auto', ['/made/up/for/this/test'])).toMatchObject({
    level: 'process',
    lacking: expect.stringContaining('bubblewrap'),
  });
});
