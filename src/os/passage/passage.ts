/**
 * The outer end of a passage: how an enclosure without a network is reached on its one port, and what it may reach.
 * Its sockets lie in a folder of the host; the enclosed programs can call them and cannot put anything in their place.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Host } from '../../config.ts';
import { egressProxy, isLoopbackName } from './egress.ts';
import type { Inner } from './relay.ts';

export interface PassageOptions {
  /** Made here, and removed by `close`. Its path may be longer than those of sockets. */
  folder: string;
  allowed: readonly Host[];
  /** A port of our loopback at which the same port of the enclosure is found; null: none. */
  port: number | null;
  onRefused(target: string): void;
}

export interface Passage {
  /** Sockets of the host, and where the enclosed programs find them. */
  readonly sockets: readonly { from: string; at: string }[];
  /** `argv` with the inner end before it, and the variables by which programs find the way out. */
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export const LOOPBACK = '127.0.0.1';
const INSIDE = '/dev/cellpool';
const PROXY_PORT = 3128;

/** The inner end. Sources are not what node runs: there it is the built one. */
export const RELAY = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../../dist/os/passage/relay.js' : './relay.js', import.meta.url),
);

/** @throws the system's error when the port cannot be bound */
export async function openPassage({ folder, allowed, port, onRefused }: PassageOptions): Promise<Passage> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // A socket's path has 107 bytes at most; by way of its open folder it is short.
  const handle = await open(folder, 'r');
  const short = (name: string) => `/proc/self/fd/${handle.fd}/${name}`;
  const opened: { server: Server; sockets: Set<Socket> }[] = [];
  let closed: Promise<void> | null = null;
  const end = async () => {
    for (const { sockets } of opened) for (const socket of sockets) socket.destroy();
    await Promise.all(opened.map(({ server }) => new Promise(resolve => server.close(resolve))));
    await handle.close();
    await rm(folder, { recursive: true, force: true });
  };
  const close = () => {
    closed ??= end();
    return closed;
  };
  const listen = async (server: Server, where: { path: string } | { port: number; host: string }) => {
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, resolve);
    });
    opened.push({ server, sockets });
  };
  try {
    if (allowed.length > 0) await listen(egressProxy(allowed, onRefused), { path: short('out') });
    if (port !== null) await openInward(listen, short('in'), port);
  } catch (error) {
    await close();
    throw error;
  }
  const inner: Inner = {
    outward: allowed.length > 0 ? `${INSIDE}/out` : null,
    proxyPort: PROXY_PORT,
    mirrored: allowed.filter(({ host }) => isLoopbackName(host)).map(one => one.port),
    inward: port === null ? null : { path: `${INSIDE}/in`, port },
  };
  const names = [...(allowed.length > 0 ? ['out'] : []), ...(port === null ? [] : ['in'])];
  return {
    sockets: names.map(name => ({ from: join(folder, name), at: `${INSIDE}/${name}` })),
    argv: [process.execPath, RELAY, JSON.stringify(inner)],
    env: allowed.length === 0 ? {} : proxyEnvironment(),
    close,
  };
}

type Listen = (server: Server, where: { path: string } | { port: number; host: string }) => Promise<void>;

/** Each call to the port goes to a connection on which the inner end waits for one. */
async function openInward(listen: Listen, path: string, port: number): Promise<void> {
  const waiting: Socket[] = [];
  const calls: Socket[] = [];
  const meet = () => {
    while (calls.length > 0 && waiting.length > 0) {
      const [call, line] = [calls.shift(), waiting.shift()];
      if (call === undefined || line === undefined) return;
      call.pipe(line);
      line.pipe(call);
      call.once('close', () => line.destroy());
      line.once('close', () => call.destroy());
      call.resume();
    }
  };
  const enter = (queue: Socket[]) => (socket: Socket) => {
    queue.push(socket);
    socket.once('close', () => {
      const at = queue.indexOf(socket);
      if (at >= 0) queue.splice(at, 1);
    });
    meet();
  };
  await listen(createServer({ pauseOnConnect: true }, enter(calls)), { port, host: LOOPBACK });
  await listen(createServer(enter(waiting)), { path });
}

function proxyEnvironment(): Record<string, string> {
  const url = `http://${LOOPBACK}:${PROXY_PORT}`;
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'];
  const none = 'localhost,127.0.0.1,::1';
  return {
    ...Object.fromEntries(
      names.flatMap(name => [
        [name, url],
        [name.toLowerCase(), url],
      ]),
    ),
    ...{ NO_PROXY: none, no_proxy: none },
    // Node's own fetch asks nobody for a proxy unless it is told to.
    NODE_USE_ENV_PROXY: '1',
  };
}
