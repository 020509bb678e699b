import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
  for (const [name, mib] of Object.entries({ mirrors: 2, cells: 3 })) {
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
  expect(told?.cellsBytes).toBeGreaterThanOrEqual(3 * MIB);
  expect(told?.artifactsBytes).toBeLessThan(MIB);
  await again();
  expect((await uses.list()).get('here')).toEqual(told);
});
