import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startScriptedModel } from '../../src/cli/demo/scripted-model.ts';
import { loadSettings } from '../../src/config.ts';
import type { CellpoolError } from '../../src/errors.ts';
import { checkRedis } from '../../src/redis/connection.ts';
import { openRedis } from '../../src/redis/open-redis.ts';
import { makeCertificates, Servers } from '../redis/servers.ts';
import { useWholePool, WHOLE, withConnections } from '../redis/whole-pool.ts';
import { CliHome, scripted } from '../support/cli.ts';
import { git } from '../support/repository.ts';

const cli = new CliHome();
afterAll(() => cli.remove());

let servers: Servers;
let home: string;
beforeEach(() => {
  servers = new Servers();
  home = servers.folder;
});
afterEach(() => servers.close());

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** In a process of its own: whom Node trusts is decided when it starts. */
function cellpool(args: string[], env: Record<string, string>) {
  return execa(process.execPath, [main, ...args], { env: { CELLPOOL_HOME: home, ...env }, reject: false });
}

test('a Redis that asks for user and password, and allows the user no more than docs/redis.md says, does', async () => {
  const acl = 'user pool on >secret ~cellpool:* &cellpool:* +@all -@dangerous +info +client|list +client|setname';
  const { port } = await servers.start(['user default off', acl], {
    client: { username: 'pool', password: 'secret' },
  });
  const url = `redis://pool:secret@127.0.0.1:${port}`;
  expect(await useWholePool({ url, prefix: 'cellpool', home })).toEqual(WHOLE);
  const wrong = openRedis({ redisUrl: url.replace('secret', 'wrong-one'), home });
  const error = (await wrong.catch((caught: unknown) => caught)) as CellpoolError;
  expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE', hint: expect.stringContaining('password') });
  expect(JSON.stringify([error.message, error.facts, error.hint])).not.toContain('wrong-one');
});

test('a Redis with TLS does, once Node is told who signed its certificate, and is refused before', async () => {
  const { authority, certificate, key } = await makeCertificates(servers.folder);
  const tls = [`tls-cert-file ${certificate}`, `tls-key-file ${key}`, `tls-ca-cert-file ${authority}`];
  const port = await servers.freePort();
  await servers.start([`tls-port ${port}`, 'tls-auth-clients no', ...tls], {
    port,
    client: { tls: { rejectUnauthorized: false } },
  });
  const url = `rediss://127.0.0.1:${port}`;
  const trusting = { REDIS_URL: url, NODE_EXTRA_CA_CERTS: authority };
  for (const args of [['pause'], ['budget', 'set', '--day', '1k'], ['reap'], ['resume']]) {
    expect(await cellpool(args, trusting)).toMatchObject({ exitCode: 0 });
  }
  const refused = await cellpool(['pause'], { REDIS_URL: url });
  expect(refused).toMatchObject({ exitCode: 3, stderr: expect.stringMatching(/certificate/) });
});

test('the master that Sentinels name does, and so does the next one when it is killed', async () => {
  const master = await servers.start([]);
  const replica = await servers.start([`replicaof 127.0.0.1 ${master.port}`]);
  const watching = [
    `sentinel monitor ours 127.0.0.1 ${master.port} 2`,
    'sentinel down-after-milliseconds ours 5000',
    'sentinel failover-timeout ours 5000',
  ];
  const sentinels = await Promise.all([1, 2, 3].map(() => servers.start(watching, { sentinel: true })));
  const list = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
  const url = `redis+sentinel://${list}/ours`;
  await untilSentinelsKnow(sentinels[0]?.port ?? 0);
  expect(await useWholePool({ url, prefix: 'before', home })).toEqual(WHOLE);

  await withConnections(url, async connect => {
    const waits = await connect('worker');
    await waits.set('kept', 'yes');
    expect(await waits.wait(1, 10_000)).toBe(1);
    await master.kill();
    expect(await waits.get('kept')).toBe('yes');
    await vi.waitUntil(async () => (await waits.info('server')).includes(`tcp_port:${replica.port}`), {
      timeout: 30_000,
    });
  });
  expect(await useWholePool({ url, prefix: 'after', home })).toEqual(WHOLE);
}, 120_000);

test('a Cluster of three does, with all keys of a pool in one slot', async () => {
  const nodes = await Promise.all(
    [0, 1, 2].map(index => servers.start(['cluster-enabled yes', `cluster-config-file nodes-${index}.conf`])),
  );
  await makeCluster(nodes.map(({ port }) => port));
  const url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  const { prefix } = loadSettings({ env: { REDIS_URL: url, HOME: home } });
  expect(prefix).toBe('{cellpool}');
  expect(await useWholePool({ url, prefix, home })).toEqual(WHOLE);
  const { maxmemoryPolicy } = await withConnections(url, async connect => {
    return checkRedis(await connect('producer'));
  });
  expect(maxmemoryPolicy).toBe('noeviction');

  // And a real worker.
  const model = await startScriptedModel();
  try {
    const repository = cli.repository();
    git(repository, 'switch', '--quiet', '--detach');
    const file = cli.tasksFile('tasks.jsonl', [
      scripted('greet', [{ write: { 'greeting.txt': 'hello\n' } }], { test: 'test -s greeting.txt', land: 'merge' }),
    ]);
    const args = ['run', file, '--repo', repository, ...cli.modelFlags(model), '--json'];
    const { exitCode, stdout } = await cli.run(args, { env: { REDIS_URL: url } });
    expect(JSON.parse(stdout)).toMatchObject({ taskId: 'greet', outcome: 'committed', landing: { state: 'landed' } });
    expect(exitCode).toBe(0);
  } finally {
    await model.close();
  }
}, 240_000);

test('where no Sentinel knows the master, and no node is there, Redis is unavailable within seconds', async () => {
  const sentinel = await servers.start([], { sentinel: true });
  const port = await servers.freePort();
  for (const url of [
    `redis+sentinel://:secret@127.0.0.1:${sentinel.port}/ours`,
    `redis+cluster://:secret@127.0.0.1:${port}`,
  ]) {
    const opening = openRedis({ redisUrl: url, home });
    const error = (await opening.catch((caught: unknown) => caught)) as CellpoolError;
    expect(error).toMatchObject({ code: 'REDIS_UNAVAILABLE', message: expect.stringContaining('127.0.0.1') });
    expect(JSON.stringify([error.message, error.facts])).not.toContain('secret');
  }
});

async function untilSentinelsKnow(port: number): Promise<void> {
  const sentinel = new Redis({ host: '127.0.0.1', port });
  try {
    await vi.waitUntil(
      async () => {
        const [master = []] = (await sentinel.call('SENTINEL', 'masters')) as string[][];
        const fact = (name: string) => Number(master[master.indexOf(name) + 1]);
        return fact('num-slaves') === 1 && fact('num-other-sentinels') === 2;
      },
      { timeout: 30_000, interval: 200 },
    );
  } finally {
    sentinel.disconnect();
  }
}

const SLOTS = 16_384;

async function makeCluster(ports: number[]): Promise<void> {
  const clients = ports.map(port => new Redis({ host: '127.0.0.1', port }));
  try {
    const share = Math.ceil(SLOTS / ports.length);
    await Promise.all(
      clients.map((client, at) => {
        const last = Math.min(SLOTS, (at + 1) * share) - 1;
        return client.call('CLUSTER', 'ADDSLOTSRANGE', String(at * share), String(last));
      }),
    );
    for (const port of ports.slice(1)) await clients[0]?.call('CLUSTER', 'MEET', '127.0.0.1', String(port));
    const isWhole = async (client: Redis) => {
      const info = String(await client.call('CLUSTER', 'INFO'));
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${ports.length}`);
    };
    await vi.waitUntil(async () => (await Promise.all(clients.map(isWhole))).every(Boolean), {
      timeout: 30_000,
      interval: 200,
    });
  } finally {
    for (const client of clients) client.disconnect();
  }
}
