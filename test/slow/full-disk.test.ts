/** A disk that is full in the middle of an attempt: a small file system holds the state folder. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AgentSpawner } from '../../src/cell/agent-spawner.ts';
import { runCell } from '../../src/cell/run-cell.ts';
import { script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import { ARTIFACTS } from '../../src/observe/artifacts.ts';
import { freeDisk } from '../../src/os/disk.ts';
import { ownIdentity } from '../../src/os/identity.ts';
import { CellRegistry } from '../../src/redis/registry.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { testRedis } from '../support/redis.ts';
import { mountSmallDisk, noSmallDisk, type SmallDisk } from '../support/small-disk.ts';

const reason = noSmallDisk();
if (reason !== null) process.stderr.write(`The full disk is not tested: ${reason}.\n`);

const MIB = 1024 * 1024;
/** What a cell needs with its server's files is some 5 MiB. */
const SIZE_MIB = 64;

describe.skipIf(reason !== null)('a disk that an attempt fills', () => {
  let disk: SmallDisk;
  let cells: TestCells;
  let redis: Awaited<ReturnType<typeof testRedis>>;
  let registry: CellRegistry;
  let spawner: AgentSpawner;

  beforeAll(async () => {
    disk = mountSmallDisk(`${SIZE_MIB}m`);
    cells = await startTestCells({ home: join(disk.folder, 'home') });
    redis = await testRedis();
    const { site, ports } = cells;
    registry = new CellRegistry(await redis.connect('worker'), { prefix: 'cells', host: 'test', home: site.home });
    const worker = { id: 'worker-1', ...(await ownIdentity()) };
    spawner = new AgentSpawner({ site, ports, registry: { cells: registry, worker } });
  });
  afterAll(async () => {
    try {
      await Promise.all([cells?.close(), redis?.close()]);
    } finally {
      disk?.remove();
    }
  });

  async function attempt(taskId: string, setup: string) {
    const result = await runCell(spawner, {
      config: { agentId: 'agent-1', taskId, model: SCRIPTED_MODEL, setup },
      prompt: `Do it.\n\n${script([{ write: { 'made.txt': 'made\n' } }, { say: 'Done.' }])}`,
      subject: 'What was asked',
      signal: new AbortController().signal,
      onStage: () => undefined,
      onUsage: () => undefined,
    });
    await cells.expectNothingLeft();
    expect(readdirSync(join(cells.site.home, 'cells'))).toEqual([]);
    expect(await registry.list()).toEqual([]);
    // What an attempt keeps is little, and the rest of the disk is free again.
    expect(await freeDisk(disk.folder)).toBeGreaterThan((SIZE_MIB / 2) * MIB);
    const known: string[] = Object.values(ARTIFACTS);
    const kept = readdirSync(result.artifacts);
    expect(kept.filter(name => !known.includes(name))).toEqual([]);
    for (const name of kept.filter(file => file.endsWith('.json'))) {
      expect(() => JSON.parse(readFileSync(join(result.artifacts, name), 'utf8'))).not.toThrow();
    }
    return result;
  }

  test.each([
    ['and-fails', 'fails by that', 'head -c 1G /dev/zero > filling'],
    ['and-hides-it', 'does not mind', 'head -c 1G /dev/zero > filling; true'],
  ])(
    '%s: a setup command that %s fails the attempt as DISK_FULL, and the same task then succeeds',
    async (taskId, _how, setup) => {
      const full = await attempt(taskId, setup);
      expect(full).toMatchObject({ outcome: 'failed', error: { code: 'DISK_FULL' }, commit: null });
      const again = await attempt(taskId, 'true');
      expect(again).toMatchObject({ outcome: 'committed', error: null, filesModified: ['made.txt'] });
    },
  );
});
