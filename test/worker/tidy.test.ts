import { chmodSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { silentLogger } from '../../src/observe/logger.ts';
import { DiskUses } from '../../src/redis/disk-use.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { tidy } from '../../src/worker/tidy.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';
import { tempFolder } from '../support/repository.ts';

let server: TestRedis;
beforeAll(async () => {
  server = await testRedis();
});
afterAll(() => server.close());

const MIB = 1024 * 1024;

test('old artifacts go, those of tasks with a cell stay, and what the host takes is told once in a while', async () => {
  const home = tempFolder('tidy');
  const [redis, prefix] = [await server.connect('worker'), server.prefix()];
  const uses = new DiskUses(redis, { prefix });
  for (const task of ['old', 'busy']) {
    const folder = join(home, 'artifacts', task, '1-00000001');
    mkdirSync(folder, { recursive: true });
    utimesSync(folder, new Date(0), new Date(0));
  }
  for (const [name, mib] of Object.entries({ mirrors: 2, cells: 3, discarded: 4, caches: 1, redis: 1 })) {
    mkdirSync(join(home, name));
    writeFileSync(join(home, name, 'file'), Buffer.alloc(mib * MIB, 1));
  }
  // Of a cell whose record nobody understands it is known that it is there.
  mkdirSync(join(home, 'registry'));
  writeFileSync(join(home, 'registry', 'busy.0123abcd.json'), '{"version": 9}');
  const retention = { artifactDays: 1, artifactsMb: null, jobDays: null, jobs: null };
  const again = () =>
    tidy({
      settings: { home, host: 'here', retention },
      registry: new CellRegistry(redis, { prefix, host: 'here', home }),
      uses,
      log: silentLogger,
      signal: new AbortController().signal,
    });
  await again();
  expect(readdirSync(join(home, 'artifacts'))).toEqual(['busy']);
  const told = (await uses.list()).get('here');
  expect(told?.mirrorsBytes).toBeGreaterThanOrEqual(2 * MIB);
  expect(told?.cellsBytes).toBeGreaterThanOrEqual((3 + 4) * MIB);
  expect(told?.cachesBytes).toBeGreaterThanOrEqual(MIB);
  expect(told?.redisBytes).toBeGreaterThanOrEqual(MIB);
  expect(told?.artifactsBytes).toBeLessThan(MIB);
  await again();
  expect((await uses.list()).get('here')).toEqual(told);
});

test.each([
  ['artifacts', ['artifacts']],
  ['caches', ['caches']],
  ['*', ['artifacts', 'mirrors', 'cells']],
])('where the size of %s cannot be told, that is said, and what was told before stands', async (name, told) => {
  const home = tempFolder('tidy');
  const [redis, prefix] = [await server.connect('worker'), server.prefix()];
  const uses = new DiskUses(redis, { prefix });
  const before = { artifactsBytes: 1, mirrorsBytes: 2, cellsBytes: 3, at: Date.now() };
  await uses.write('here', before);
  for (const folder of new Set(['artifacts', 'mirrors', 'cells', ...told])) mkdirSync(join(home, folder));
  const bin = tempFolder('bin');
  writeFileSync(join(bin, 'du'), `#!/bin/sh\ncase "$*" in */${name}) exit 1;; esac\nexec /usr/bin/du "$@"\n`);
  chmodSync(join(bin, 'du'), 0o755);
  vi.stubEnv('PATH', bin);
  onTestFinished(() => void vi.unstubAllEnvs());
  const lines: { msg?: string; folders?: string[] }[] = [];
  await tidy({
    settings: { home, host: 'here', retention: { artifactDays: 1, artifactsMb: 1, jobDays: null, jobs: null } },
    registry: new CellRegistry(redis, { prefix, host: 'here', home }),
    uses,
    log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    signal: new AbortController().signal,
  });
  expect(lines).toMatchObject([{ msg: expect.stringContaining('cannot be told'), folders: told }]);
  expect((await uses.list()).get('here')).toEqual(before);
});
