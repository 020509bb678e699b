import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { groundsOf, openEnclosure } from '../../src/cell/enclosure.ts';
import { commandEnvironment } from '../../src/cell/environment.ts';
import { makeStandIns, standInsOf } from '../../src/cell/stand-ins.ts';
import { silentLogger } from '../../src/observe/logger.ts';
import { chooseIsolation } from '../../src/os/isolation.ts';
import { run } from '../../src/os/run.ts';
import { isolationHere } from '../support/isolation.ts';
import { tempFolder } from '../support/repository.ts';

const SAYS = 'is not available in a cell; the pool writes to the tracker\n';

/** Runs a shell command as a cell of a state folder would. */
async function inCell(home: string, level: 'process' | 'sandbox' | 'strict', command: string) {
  const folder = (name: string) => {
    mkdirSync(join(home, 'cells/a', name), { recursive: true });
    return join(home, 'cells/a', name);
  };
  const folders = { home: folder('home'), temp: folder('tmp') };
  const source = { path: folder('source'), gitDir: folder('source/.git') };
  const grounds = groundsOf(await chooseIsolation(level), { home, source, objects: folder('objects') }, []);
  const cell = { cellId: 'a', cwd: folder('workspace'), folders, dir: folder('.'), allowed: [] };
  const enclosure = await openEnclosure(grounds, cell, silentLogger);
  const env = { ...commandEnvironment('a', folders, { taskId: 't', agentId: 'a' }, []), ...enclosure.env };
  return run(enclosure.wrap(['/bin/sh', '-c', command]), { env, cwd: cell.cwd }).finally(() => enclosure.close());
}

describe.each(['process', 'sandbox', 'strict'] as const)('in a cell at %s', async level => {
  const here = await isolationHere(level);

  test.skipIf(here === null)('bd says that it is not available and ends as if there were none', async () => {
    const home = tempFolder('home');
    await makeStandIns(home);
    for (const name of ['bd', 'beads']) {
      const ended = await inCell(home, level, `${name} ready --json`);
      expect(ended).toMatchObject({ exitCode: 127, stdout: '', stderr: `${name} ${SAYS}` });
    }
    expect(await inCell(home, level, 'ls / >/dev/null')).toMatchObject({ exitCode: 0 });
  });
});

test('at process the stand-in comes before a bd of the host, and does not hide it', async () => {
  const bin = tempFolder('bin');
  writeFileSync(join(bin, 'bd'), '#!/bin/sh\necho the real one\n');
  chmodSync(join(bin, 'bd'), 0o755);
  vi.stubEnv('PATH', `${bin}:${process.env.PATH}`);
  const home = tempFolder('home');
  await makeStandIns(home);
  expect(await inCell(home, 'process', 'bd')).toMatchObject({ exitCode: 127 });
  // Advisory: nothing keeps a program at this level from what the worker's user may run.
  expect(await inCell(home, 'process', join(bin, 'bd'))).toMatchObject({ stdout: 'the real one\n' });
  vi.unstubAllEnvs();
});

test('a worker without a PATH leaves its cells one', async () => {
  const home = tempFolder('home');
  await makeStandIns(home);
  vi.stubEnv('PATH', undefined);
  expect(await inCell(home, 'process', 'bd; ls / >/dev/null')).toMatchObject({ exitCode: 0, stderr: `bd ${SAYS}` });
  vi.unstubAllEnvs();
});

test('stand-ins that somebody has changed are made anew', async () => {
  const home = tempFolder('home');
  await makeStandIns(home);
  writeFileSync(join(standInsOf(home), 'bd'), '#!/bin/sh\necho planted\n');
  await makeStandIns(home);
  expect(await inCell(home, 'process', 'bd')).toMatchObject({ exitCode: 127, stdout: '' });
});
