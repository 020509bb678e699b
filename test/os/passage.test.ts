import { createServer as createHttp, get, request } from 'node:http';
import { type AddressInfo, connect, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import getPort from 'get-port';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseHost } from '../../src/config.ts';
import type { Isolation } from '../../src/os/isolation.ts';
import { addressOf, egressProxy } from '../../src/os/passage/egress.ts';
import { openPassage, RELAY } from '../../src/os/passage/passage.ts';
import { run } from '../../src/os/run.ts';
import { isolationHere } from '../support/isolation.ts';
import { tempFolder } from './support.ts';

const PATH = process.env.PATH ?? '';

async function listen(server: Server): Promise<number> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>(resolve => void server.close(() => resolve())));
  return (server.address() as AddressInfo).port;
}

const site = () => listen(createHttp((call, response) => response.end(`${call.method} ${call.url}`)));

describe('the proxy', () => {
  async function proxy(allowed: { host: string; port: number }[]) {
    const refused: string[] = [];
    const server = egressProxy(allowed, target => refused.push(target));
    return { port: await listen(server), refused };
  }

  test('passes calls on to what is allowed, with and without a tunnel', async () => {
    const port = await site();
    const { port: at, refused } = await proxy([{ host: 'localhost', port }]);
    const plain = await new Promise<string>((resolve, reject) => {
      const call = { host: '127.0.0.1', port: at, path: `http://localhost:${port}/plain?x=1` };
      get(call, response => text(response).then(resolve, reject)).on('error', reject);
    });
    expect(plain).toBe('GET /plain?x=1');
    const tunnelled = await new Promise<string>((resolve, reject) => {
      request({ host: '127.0.0.1', port: at, method: 'CONNECT', path: `localhost:${port}` })
        .on('connect', (_, socket) => {
          socket.write('GET /through HTTP/1.0\r\n\r\n');
          text(socket).then(resolve, reject);
        })
        .on('error', reject)
        .end();
    });
    expect(tunnelled).toContain('GET /through');
    expect(refused).toEqual([]);
  });

  test('refuses what was allowed from the moment on in which it is taken off the list', async () => {
    const port = await site();
    const allowed = [{ host: 'localhost', port }];
    const { port: at, refused } = await proxy(allowed);
    const status = () =>
      new Promise<number | undefined>((resolve, reject) => {
        const call = { host: '127.0.0.1', port: at, path: `http://localhost:${port}/` };
        get(call, response => resolve(response.resume().statusCode)).on('error', reject);
      });
    expect(await status()).toBe(200);
    allowed.pop();
    expect(await status()).toBe(403);
    expect(refused).toEqual([`http://localhost:${port}/`]);
  });

  test('refuses everything else, says so, and tells whom', async () => {
    const port = await site();
    const { port: at, refused } = await proxy([{ host: 'localhost', port: port === 1 ? 2 : 1 }]);
    const answers = await Promise.all(
      [`http://localhost:${port}/`, 'https://localhost/', '/no-address'].map(
        path =>
          new Promise<[number | undefined, string]>((resolve, reject) => {
            const take = (response: import('node:http').IncomingMessage) =>
              text(response).then(said => resolve([response.statusCode, said]), reject);
            get({ host: '127.0.0.1', port: at, path }, take).on('error', reject);
          }),
      ),
    );
    for (const [status, said] of answers) expect([status, said]).toEqual([403, expect.stringContaining('isolation')]);
    const socket = connect(at, '127.0.0.1');
    socket.end(`CONNECT localhost:${port} HTTP/1.1\r\n\r\n`);
    expect(await text(socket)).toMatch(/^HTTP\/1.1 403/);
    expect(refused).toHaveLength(4);
  });

  test('allows a host by its name and port alone, with a star for the names below it', async () => {
    const allowed = [
      { host: '*.example.com', port: 443 },
      { host: '10.1.2.3', port: 80 },
    ];
    for (const host of ['example.com', 'badexample.com', 'x.example.com.evil.org', '.example.com', '10.1.2.4']) {
      expect(await addressOf({ host, port: 443 }, allowed), host).toBeNull();
    }
    expect(await addressOf({ host: '10.1.2.3', port: 80 }, allowed)).toBe('10.1.2.3');
    expect(await addressOf({ host: '10.1.2.3', port: 443 }, allowed)).toBeNull();
  });

  test('never reaches this machine by a name that leads there', async () => {
    // A name of the hosts file, which stands for one that a stranger's DNS has lead here.
    const allowed = [{ host: 'ip6-localhost', port: 80 }];
    expect(await addressOf({ host: 'ip6-localhost', port: 80 }, allowed)).toBeNull();
  });

  test('reads any text as a target or as none, and what it reads has a port', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webAuthority(), fc.domain(), fc.ipV6()), written => {
        const target = parseHost(written, 443);
        if (target === null) return;
        expect(target.host).toMatch(/^[a-z0-9*._:-]+$/);
        expect(target.port).toBeGreaterThanOrEqual(1);
        expect(target.port).toBeLessThanOrEqual(65_535);
      }),
    );
    expect(parseHost('[::1]:80', 443)).toEqual({ host: '::1', port: 80 });
    expect(parseHost('Example.COM', 443)).toEqual({ host: 'example.com', port: 443 });
  });
});

const found = await isolationHere('strict');

describe.skipIf(found === null)('a passage into an enclosure without a network', () => {
  const isolation = found as Isolation;

  async function enclosed(allowed: { host: string; port: number }[], port: number | null) {
    const cwd = tempFolder();
    // Longer than the path of a socket may be.
    const folder = join(cwd, 'x'.repeat(60), 'y'.repeat(60));
    const refused: string[] = [];
    const passage = await openPassage({ folder, allowed, port, onRefused: target => refused.push(target) });
    onTestFinished(() => passage.close());
    const { sockets } = passage;
    const place = { id: 'p', cwd, hidden: [], readable: [RELAY], writable: [cwd], temp: null, sockets };
    const start = (script: string) =>
      run(isolation.enclose([...passage.argv, process.execPath, '-e', script], place), {
        env: { PATH, ...passage.env },
      });
    return { start, refused, passage };
  }

  test('leads to the allowed port of this machine, and to no other', async () => {
    const [port, other] = [await site(), await site()];
    const { start } = await enclosed([{ host: '127.0.0.1', port }], null);
    const call = (to: number) =>
      start(`fetch('http://127.0.0.1:${to}/x').then(r => r.text()).then(console.log, e => console.log(e.cause.code))`);
    expect((await call(port)).stdout.trim()).toBe('GET /x');
    expect((await call(other)).stdout.trim()).toBe('ECONNREFUSED');
  });

  test('leads in to the one port, for one call after another and for many at once', async () => {
    const port = await getPort({ host: '127.0.0.1' });
    const { start, passage } = await enclosed([], port);
    const server = `
      const server = require('http').createServer((call, response) => response.end('inside ' + call.url));
      server.listen(${port}, '127.0.0.1', () => console.log('listening'));
      server.on('request', call => call.url === '/end' && setImmediate(() => process.exit(5)));
    `;
    const running = start(server);
    const ask = (path: string) =>
      fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } }).then(answer => answer.text());
    let first = '';
    while (first === '') first = await ask('/first').catch(() => '');
    expect(first).toBe('inside /first');
    const paths = Array.from({ length: 20 }, (_, index) => `/${index}`);
    expect(await Promise.all(paths.map(ask))).toEqual(paths.map(path => `inside ${path}`));
    await ask('/end').catch(() => undefined);
    expect((await running).exitCode).toBe(5);
    await passage.close();
    await passage.close();
    await expect(ask('/after')).rejects.toThrow();
  });

  test('ends as its program ends, and says when that cannot be started', async () => {
    const { start } = await enclosed([], null);
    expect((await start('process.exit(9)')).exitCode).toBe(9);
    expect((await start('process.kill(process.pid, "SIGKILL")')).exitCode).toBe(137);
  });
});
