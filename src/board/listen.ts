/** Listening on a host and port, with an error that says what to do when that cannot be. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { CellpoolError, messageOf } from '../errors.ts';

/** Returns the port, which is another than `port` only when that is 0. @throws {CellpoolError} `CANNOT_LISTEN` */
export async function listen(server: Pick<Server, 'listen' | 'address' | 'once'>, host: string, port: number) {
  try {
    const listening = once(server as Server, 'listening');
    server.listen(port, bare(host));
    await listening;
  } catch (error) {
    throw cannotListen(error, host, port);
  }
  return (server.address() as AddressInfo).port;
}

/** Whether the port can be had just now. @throws {CellpoolError} `CANNOT_LISTEN` when not */
export async function tryToListen(host: string, port: number): Promise<void> {
  const server = createServer();
  await listen(server, host, port);
  const closed = once(server, 'close');
  server.close();
  await closed;
}

/** As it is written before `:port`. */
export function hostInUrl(host: string): string {
  return bare(host).includes(':') ? `[${bare(host)}]` : host;
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

function cannotListen(error: unknown, host: string, port: number): CellpoolError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const what = `The board cannot listen on ${hostInUrl(host)}:${port}`;
  if (code === 'EADDRINUSE') {
    return new CellpoolError('CANNOT_LISTEN', `${what}: another program does`, {
      hint: 'Perhaps a board is running already. Choose another port with --port (beside a worker --board-port).',
    });
  }
  const hint = code === 'EACCES' ? 'Ports below 1024 are for root.' : 'Correct the host or the port.';
  return new CellpoolError('CANNOT_LISTEN', `${what}: ${messageOf(error)}`, { hint });
}
