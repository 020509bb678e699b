/** Redis servers as operators run them: on ports, with TLS, users, Sentinels, as a Cluster. Each ends with its test. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import getPort from 'get-port';
import { Redis, type RedisOptions } from 'ioredis';
import { vi } from 'vitest';
import { findRedisBinary, serverEnvironment } from '../../src/redis/redis-binary.ts';

const READY_MS = 20_000;

export interface Server {
  readonly port: number;
  readonly pid: number;
  kill(): Promise<void>;
}

export class Servers {
  readonly folder = mkdtempSync(join(tmpdir(), 'rs-'));
  readonly #started: (() => Promise<void>)[] = [];

  /** A server that answers. `lines` are lines of its configuration; `client`: how to reach it. */
  async start(lines: readonly string[], options: { sentinel?: boolean; port?: number; client?: RedisOptions } = {}) {
    const { port = await getPort(), sentinel = false } = options;
    const binary = await findRedisBinary();
    const file = join(this.folder, `${port}.conf`);
    // A TLS port is the only one then, and named by the caller.
    const own = lines.some(line => line.startsWith('tls-port')) ? 'port 0' : `port ${port}`;
    const saved = sentinel ? [] : ['save ""', 'appendonly yes', 'maxmemory-policy noeviction'];
    const common = [own, 'bind 127.0.0.1', `dir ${this.folder}`, ...saved, `logfile ${file}.log`];
    if (!sentinel) common.push(`appenddirname aof-${port}`);
    writeFileSync(file, [...common, ...lines, ''].join('\n'));
    const child = execa(binary.file, [file, ...(sentinel ? ['--sentinel'] : [])], {
      env: serverEnvironment(binary),
      extendEnv: false,
      reject: false,
    });
    const kill = async () => {
      child.kill('SIGKILL');
      await child;
    };
    this.#started.push(kill);
    const reach = { ...options.client, host: '127.0.0.1', port, retryStrategy: () => 50, lazyConnect: true };
    const client = new Redis(reach as typeof reach & { replyMapping?: 'legacy' });
    client.on('error', () => undefined);
    try {
      await vi.waitUntil(() => client.ping().then(Boolean, () => child.exitCode !== null), { timeout: READY_MS });
      if (child.exitCode !== null) throw new Error(`redis-server ended: ${(await child).stdout}`);
    } finally {
      client.disconnect();
    }
    return { port, pid: child.pid ?? 0, kill } satisfies Server;
  }

  freePort(): Promise<number> {
    return getPort();
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map(kill => kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A certificate for 127.0.0.1 and the authority that signed it, as files. */
export async function makeCertificates(
  folder: string,
): Promise<{ authority: string; certificate: string; key: string }> {
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execa('openssl', args, { cwd: folder });
  const elliptic = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl('req', '-x509', ...elliptic, '-days', '2', '-subj', '/CN=ours', '-keyout', 'ca.key', '-out', 'ca.pem');
  await openssl('req', ...elliptic, '-subj', '/CN=redis', '-keyout', 'redis.key', '-out', 'redis.csr');
  writeFileSync(at('names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
  await openssl('x509', '-req', '-in', 'redis.csr', ...signed, '-out', 'redis.pem');
  return { authority: at('ca.pem'), certificate: at('redis.pem'), key: at('redis.key') };
}
