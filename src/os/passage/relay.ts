/**
 * The inner end of a passage: runs inside an enclosure without a network and is all that leads out of it. It listens
 * on the enclosure's loopback and carries bytes to the two sockets of the outer end (`passage.ts`), which decides what
 * they may reach. It starts the program it is for, and ends as that ends.
 *
 *     node relay.js <JSON of Inner> <program> <its arguments...>
 *
 * It stands alone, so that an enclosure need only show this file.
 */
import { spawn } from 'node:child_process';
import { connect, createServer, type Socket } from 'node:net';
import { constants } from 'node:os';
import process from 'node:process';

export interface Inner {
  /** Path of the socket on which the outer end takes calls to hosts; null: nobody out there may be called. */
  outward: string | null;
  /** The port on which programs find it as their HTTP proxy. */
  proxyPort: number;
  /** Ports of the host's loopback that are found here under the same number. */
  mirrored: readonly number[];
  /** Path of the socket for calls from outside, and the port here that they are for. */
  inward: { path: string; port: number } | null;
}

const LOOPBACK = '127.0.0.1';
/** Connections that wait for a call from outside; each that is used is replaced at once. */
const WAITING = 4;
const RETRY_MS = 100;

const [json = '', file = '', ...args] = process.argv.slice(2);
const inner = JSON.parse(json) as Inner;

/** All that is open; nothing of it keeps the process alive once the program has ended. */
const open = new Set<Socket>();
let over = false;

function keep(socket: Socket): Socket {
  open.add(socket);
  return socket.once('close', () => open.delete(socket));
}

function join(one: Socket, other: Socket): void {
  one.on('error', () => other.destroy());
  other.on('error', () => one.destroy());
  one.pipe(other);
  other.pipe(one);
}

/** Waits for a call from outside. Whoever calls speaks first: until then nobody here is bothered. */
function waitForCall(path: string, port: number): void {
  if (over) return;
  const outer = keep(connect(path));
  outer.on('error', () => setTimeout(() => waitForCall(path, port), RETRY_MS).unref());
  outer.once('data', first => {
    outer.pause();
    outer.removeAllListeners('error');
    const own = keep(connect(port, LOOPBACK));
    own.write(first);
    join(outer, own);
    waitForCall(path, port);
  });
  // The outer end closes what it does not need.
  outer.once('close', hadError => {
    if (!hadError && outer.bytesRead === 0) waitForCall(path, port);
  });
}

function listen(port: number, take: (socket: Socket) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, socket => take(keep(socket)));
    server.once('error', reject);
    server.listen(port, LOOPBACK, resolve).unref();
  });
}

/** Has the outer end connect `socket` to a port of the host's loopback. */
function mirror(socket: Socket, path: string, port: number): void {
  const outer = keep(connect({ path, allowHalfOpen: true }));
  socket.on('error', () => outer.destroy());
  outer.on('error', () => socket.destroy());
  outer.write(`CONNECT ${LOOPBACK}:${port} HTTP/1.1\r\nHost: ${LOOPBACK}:${port}\r\n\r\n`);
  let head = Buffer.alloc(0);
  outer.on('data', function read(chunk: Buffer) {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    outer.off('data', read);
    outer.pause();
    if (!head.toString('latin1').startsWith('HTTP/1.1 200')) return void socket.destroy();
    const rest = head.subarray(end + 4);
    if (rest.length > 0) socket.write(rest);
    join(socket, outer);
  });
}

const { outward, inward } = inner;
if (outward !== null) {
  await listen(inner.proxyPort, socket => join(socket, keep(connect({ path: outward, allowHalfOpen: true }))));
  for (const port of inner.mirrored) await listen(port, socket => mirror(socket, outward, port));
}
if (inward !== null) for (let count = 0; count < WAITING; count += 1) waitForCall(inward.path, inward.port);

// The signal of the group is for the program; this one ends with it.
process.on('SIGTERM', () => undefined);
const program = spawn(file, args, { stdio: 'inherit' });
const end = (code: number) => {
  over = true;
  process.exitCode = code;
  for (const socket of open) socket.destroy();
};
program.once('error', error => {
  process.stderr.write(`${error.message}\n`);
  end(127);
});
program.once('exit', (code, signal) => end(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9)));
