/** An HTTP proxy that reaches nothing but what it is allowed to: how programs without a network call out. */
import { lookup } from 'node:dns/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { BlockList, connect, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Host, parseHost } from '../../config.ts';

/** Called with what was refused, `host:port`. */
type OnRefused = (target: string) => void;

const CONNECT_MS = 30_000;

/** Never by a name that somebody else chose: the machine itself, its cloud's metadata, and what is not one host. */
const NEVER = new BlockList();
for (const [net, bits] of [
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['0.0.0.0', 8],
  ['224.0.0.0', 3],
] as const) {
  NEVER.addSubnet(net, bits, 'ipv4');
}
for (const [net, bits] of [
  ['::1', 128],
  ['::', 128],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  NEVER.addSubnet(net, bits, 'ipv6');
}

/** The proxy; the caller has it listen and closes it. */
export function egressProxy(allowed: readonly Host[], onRefused: OnRefused): Server {
  const server = createServer((request, response) => void forward(request, response, allowed, onRefused));
  server.on('connect', (request, socket, head) => void tunnel(request, socket, head, allowed, onRefused));
  // A program may hang up at any moment; that is no news.
  server.on('clientError', (_, socket) => socket.destroy());
  return server;
}

async function tunnel(
  { url = '' }: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  allowed: readonly Host[],
  onRefused: OnRefused,
): Promise<void> {
  socket.on('error', () => undefined);
  const target = parseHost(url, 443);
  const address = target === null ? null : await addressOf(target, allowed);
  if (target === null || address === null) {
    onRefused(url);
    socket.end(`HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${refusal(url)}`);
    return;
  }
  const far = connect({ host: address, port: target.port, allowHalfOpen: true, timeout: CONNECT_MS });
  far.once('timeout', () => far.destroy(new Error('timed out')));
  far.once('error', error => {
    if (!far.connecting && far.bytesRead > 0) socket.destroy();
    else socket.end(`HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n${error.message}\n`);
  });
  far.once('connect', () => {
    far.setTimeout(0);
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) far.write(head);
    socket.pipe(far);
    far.pipe(socket);
    socket.once('close', () => far.destroy());
    far.once('close', () => socket.destroy());
  });
}

/** A plain `http:` call, whose whole address stands in its first line. */
async function forward(
  incoming: IncomingMessage,
  response: ServerResponse,
  allowed: readonly Host[],
  onRefused: OnRefused,
): Promise<void> {
  const url = URL.canParse(incoming.url ?? '') ? new URL(incoming.url ?? '') : null;
  const target = url?.protocol === 'http:' ? parseHost(url.host, 80) : null;
  const address = target === null ? null : await addressOf(target, allowed);
  if (url === null || target === null || address === null) {
    onRefused(incoming.url ?? '');
    response.writeHead(403, { 'content-type': 'text/plain' }).end(refusal(url?.host ?? incoming.url ?? ''));
    return;
  }
  const { 'proxy-connection': _, 'proxy-authorization': __, ...headers } = incoming.headers;
  const far = request(
    {
      host: address,
      port: target.port,
      path: `${url.pathname}${url.search}`,
      method: incoming.method,
      headers: { ...headers, host: url.host },
      timeout: CONNECT_MS,
    },
    answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    },
  );
  far.once('error', error => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502, { 'content-type': 'text/plain' }).end(`${error.message}\n`);
  });
  incoming.pipe(far);
  response.once('close', () => far.destroy());
}

const refusal = (target: string) =>
  `cellpool: cells may not call ${target.slice(0, 300)}. What they may stands in cellpool.yaml: isolation: allow.\n`;

/** The address to connect to; null when the target is not allowed. */
export async function addressOf(target: Host, allowed: readonly Host[]): Promise<string | null> {
  const rule = allowed.find(one => one.port === target.port && matches(target.host, one.host));
  if (rule === undefined) return null;
  if (target.host === 'localhost') return '127.0.0.1';
  // An address was allowed as such, whichever it is.
  if (isIP(target.host) !== 0) return target.host;
  const found = await lookup(target.host, { all: true }).catch(() => []);
  return found.find(({ address, family }) => !NEVER.check(address, family === 6 ? 'ipv6' : 'ipv4'))?.address ?? null;
}

function matches(host: string, pattern: string): boolean {
  if (isIP(host) === 0 && pattern.startsWith('*.'))
    return host.endsWith(pattern.slice(1)) && host.length >= pattern.length;
  if (isLoopbackName(host) && isLoopbackName(pattern)) return true;
  return host === pattern;
}

export function isLoopbackName(host: string): boolean {
  return host === 'localhost' || host === '127.0.0.1';
}
