/** A place to spawn cells: the sample repository, a private Redis and a site, all in one temp folder. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentSpawner } from '../../dist/cell/agent-spawner.js';
import { openSite } from '../../dist/cell/spawner-site.js';
import { makeSampleRepository } from '../../dist/cli/demo/sample-repository.js';
import { connectRedis } from '../../dist/redis/connection.js';
import { openRedis } from '../../dist/redis/open-redis.js';
import { PortLeases } from '../../dist/redis/port-lease.js';

export const MINUTE = 60_000;

export async function openBenchSite() {
  const folder = mkdtempSync(join(tmpdir(), 'cellpool-bench-'));
  const repository = join(folder, 'repository');
  const home = join(folder, 'state');
  await makeSampleRepository(repository);
  const server = await openRedis({ home, say: text => process.stderr.write(`${text}\n`) });
  const redis = connectRedis(server.address, 'worker');
  const options = {
    repository,
    home,
    author: { name: 'bench', email: 'bench@localhost' },
    bootMs: MINUTE,
    setupMs: MINUTE,
    testMs: MINUTE,
    env: { server: [], commands: [] },
  };
  const site = await openSite(options);
  const ports = new PortLeases(redis, { host: 'bench', range: { from: 24_000, to: 24_999 } });
  return {
    folder,
    home,
    repository,
    socket: server.address.path,
    site,
    ports,
    spawner: new AgentSpawner({ site, ports }),
    /** Cells on the same repository, with these options of its site besides. */
    spawnerWith: async more => new AgentSpawner({ site: await openSite({ ...options, ...more }), ports }),
    async close() {
      redis.disconnect();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
