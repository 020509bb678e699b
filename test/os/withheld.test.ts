import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { hostFiles } from '../../src/os/host-files.ts';
import { chooseIsolation, type Isolation } from '../../src/os/isolation.ts';
import { run } from '../../src/os/run.ts';
import { withheldFiles } from '../../src/os/withheld.ts';
import { isolationHere } from '../support/isolation.ts';
import { tempFolder } from './support.ts';

/** Programs that print their own name, in a folder of their own. */
function programs(...paths: string[]): string {
  const folder = tempFolder();
  for (const path of paths) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), `#!/bin/sh\necho ${path} ran\n`);
    chmodSync(join(folder, path), 0o755);
  }
  return folder;
}

const found = (folder: string, env: NodeJS.ProcessEnv, home = folder) =>
  withheldFiles(env, [home])
    .filter(path => path.startsWith(folder))
    .map(path => path.slice(folder.length + 1))
    .sort();

describe('programs of the tracker are found', () => {
  test('in every folder of PATH, in that of go, and where BD_BIN says', () => {
    const folder = programs('one/bd', 'two/beads', 'two/other', 'go/bin/bd', 'my-tracker', 'unseen/bd');
    const env = {
      PATH: ['one', 'two'].map(name => join(folder, name)).join(delimiter),
      BD_BIN: join(folder, 'my-tracker'),
    };
    expect(found(folder, env)).toEqual(['go/bin/bd', 'my-tracker', 'one/bd', 'two/beads']);
  });

  test('behind a link, and beside the launcher of a package', () => {
    const folder = programs('lib/beads/bin/bd.js', 'lib/beads/bin/bd', 'lib/beads/bin/other');
    mkdirSync(join(folder, 'bin'));
    symlinkSync('../lib/beads/bin/bd.js', join(folder, 'bin/bd'));
    expect(found(folder, { PATH: join(folder, 'bin') })).toEqual(['lib/beads/bin/bd', 'lib/beads/bin/bd.js']);
  });

  test('but not the manager of versions that a link leads to, nor a folder, nor what is missing', () => {
    const folder = programs('bin/mise');
    mkdirSync(join(folder, 'shims'));
    symlinkSync('../bin/mise', join(folder, 'shims/bd'));
    mkdirSync(join(folder, 'shims/beads'));
    symlinkSync('nowhere', join(folder, 'bin/bd'));
    const PATH = ['shims', 'bin', 'absent'].map(name => join(folder, name)).join(delimiter);
    expect(found(folder, { PATH, BD_BIN: join(folder, 'none') })).toEqual([]);
  });

  test('and only those a cell would see are covered', () => {
    const folder = programs('seen/bd', 'unseen/bd');
    const env = { PATH: join(folder, 'seen'), BD_BIN: join(folder, 'unseen/bd') };
    // Temporary folders are hidden, but for what PATH names.
    const { blanked, blankedOfSystem } = hostFiles([join(folder, 'seen/bd')], env);
    expect(blanked.filter(path => path.startsWith(folder))).toEqual([join(folder, 'seen/bd')]);
    expect(blankedOfSystem.filter(path => path.startsWith(folder))).toEqual([join(folder, 'seen/bd')]);
  });
});

describe.each(['sandbox', 'strict'] as const)('isolation %s', async level => {
  const here = await isolationHere(level);

  test.skipIf(here === null)('covers bd and leaves the programs beside it', async () => {
    const folder = programs('bin/bd', 'bin/beads', 'bin/other', 'named');
    const before = { PATH: process.env.PATH ?? '', BD_BIN: process.env.BD_BIN };
    process.env.PATH = `${join(folder, 'bin')}${delimiter}${before.PATH}`;
    process.env.BD_BIN = join(folder, 'named');
    // Looked at once for each list of readable files: this one is of this test alone.
    const isolation: Isolation = await chooseIsolation(level, [folder]).finally(() => {
      process.env.PATH = before.PATH;
      if (before.BD_BIN === undefined) delete process.env.BD_BIN;
      else process.env.BD_BIN = before.BD_BIN;
    });
    const cwd = tempFolder();
    const place = { id: 'own', cwd, hidden: [], readable: [], writable: [cwd], temp: null, sockets: [] };
    const said = (path: string) => run(isolation.enclose([join(folder, path)], place), { env: { PATH: before.PATH } });
    expect(await said('bin/other')).toMatchObject({ exitCode: 0, stdout: 'bin/other ran\n' });
    for (const path of ['bin/bd', 'bin/beads', 'named']) {
      const { exitCode, stdout } = await said(path);
      expect([path, stdout, exitCode]).toEqual([path, '', 126]);
    }
    const copy = await run(isolation.enclose(['cat', join(folder, 'bin/bd')], place), { env: { PATH: before.PATH } });
    expect(copy.stdout).toBe('');
  });
});
