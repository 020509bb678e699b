import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { findRedisBinary, serverEnvironment } from '../../src/redis/redis-binary.ts';
import { temporaryFolder } from './support.ts';

const apt = existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb');

/** A folder with programs that print `says`, and links to the real ones of `also`. */
function pathWith(programs: Record<string, string>, also: string[] = []): string {
  const folder = temporaryFolder();
  for (const [name, says] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho '${says}'\n`);
    chmodSync(join(folder, name), 0o755);
  }
  for (const file of also) symlinkSync(file, join(folder, file.slice(file.lastIndexOf('/') + 1)));
  return folder;
}

test.each([
  ['redis-server', 'Redis server v=7.2.4 sha=00000000:0 malloc=libc bits=64', '7.2.4'],
  ['valkey-server', 'Valkey server v=8.1.1 sha=00000000:0 malloc=libc bits=64', '8.1.1'],
])('%s on PATH is taken', async (name, says, version) => {
  const folder = pathWith({ [name]: says });
  const binary = await findRedisBinary({ env: { PATH: `bin:${folder}` } });
  expect(binary).toEqual({ file: join(folder, name), libraries: undefined, version });
});

test('a program on PATH that does not run is passed over', async () => {
  const folder = pathWith({ 'redis-server': 'broken', 'valkey-server': 'Valkey server v=8.1.1' });
  expect((await findRedisBinary({ env: { PATH: folder } })).file).toBe(join(folder, 'valkey-server'));
});

test('where there is none and no way to get one, the error says what to install', async () => {
  const finding = findRedisBinary({ env: { PATH: temporaryFolder(), XDG_CACHE_HOME: temporaryFolder() } });
  await expect(finding).rejects.toMatchObject({
    code: 'REDIS_UNAVAILABLE',
    exitCode: 3,
    hint: expect.stringMatching(/apt-get install.*docker run/),
  });
});

test.skipIf(!apt)('on Debian and Ubuntu the package is unpacked once, also when several want it at once', async () => {
  const env = { PATH: pathWith({}, ['/usr/bin/apt-get', '/usr/bin/dpkg-deb']), XDG_CACHE_HOME: temporaryFolder() };
  const folder = join(env.XDG_CACHE_HOME, 'cellpool', 'redis');
  // What a full disk leaves: it is there and does not run.
  mkdirSync(join(folder, `${process.platform}-${process.arch}`), { recursive: true });
  writeFileSync(join(folder, `${process.platform}-${process.arch}`, 'redis-server'), '');

  const said: string[] = [];
  const say = (message: string) => said.push(message);
  const [one, two] = await Promise.all([findRedisBinary({ env, say }), findRedisBinary({ env, say })]);
  expect(one).toEqual(two);
  expect(said).toHaveLength(1);
  expect(readdirSync(folder).sort()).toEqual([`${process.platform}-${process.arch}`, 'lock']);
  const { stdout } = await execa(one.file, ['--version'], { env: serverEnvironment(one), extendEnv: false });
  expect(stdout).toContain(`v=${one.version}`);
});

test.skipIf(!apt)('an aborted unpacking leaves nothing', async () => {
  const env = { PATH: pathWith({}, ['/usr/bin/apt-get', '/usr/bin/dpkg-deb']), XDG_CACHE_HOME: temporaryFolder() };
  const abort = new AbortController();
  const reason = new Error('stop');
  const finding = findRedisBinary({ env, signal: abort.signal, say: () => setImmediate(() => abort.abort(reason)) });
  await expect(finding).rejects.toBe(reason);
  expect(readdirSync(join(env.XDG_CACHE_HOME, 'cellpool', 'redis'))).toEqual(['lock']);
});
