/**
 * A git server of our own: `git http-backend`, which speaks the smart protocol, behind a small HTTP server on the
 * loopback, with a password where that is asked for. Its repositories are bare ones below one folder.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface GitServer {
  /** `http://127.0.0.1:<port>`. */
  readonly address: string;
  /** What became of each request: method, path and status. */
  readonly requests: string[];
  /** Requests that were left without an answer. */
  readonly hanging: ServerResponse[];
  /** Users that are let in, with their passwords; empty: everybody is. */
  readonly users: Map<string, string>;
  /**
   * What is done to a request before git sees it, by what it is for: an HTTP status answers it, `hang` never does,
   * and `lose` lets git do its work and then cuts the connection instead of answering.
   */
  readonly trouble: Map<'fetch' | 'push', number | 'hang' | 'lose'>;
}

type Served = { -readonly [K in Exclude<keyof GitServer, 'address'>]: GitServer[K] };

const BACKEND = join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend');

/** Serves the bare repositories of `root`. Call it within a test. */
export async function startGitServer(root: string): Promise<GitServer> {
  const served = { requests: [] as string[], hanging: [], users: new Map(), trouble: new Map() } satisfies Served;
  const server = createServer((request, response) => {
    response.on('close', () => served.requests.push(`${request.method} ${request.url} ${response.statusCode}`));
    answer(root, served, request, response);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(
    () =>
      new Promise<void>(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return Object.assign(served, { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function answer(root: string, served: Served, request: IncomingMessage, response: ServerResponse): void {
  const { users, trouble } = served;
  const { pathname, search } = new URL(request.url ?? '/', 'http://localhost');
  const user = userOf(request, users);
  if (user === null) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    return;
  }
  const isPush = `${pathname}${search}`.includes('git-receive-pack');
  const what = trouble.get(isPush ? 'push' : 'fetch');
  if (what === 'hang') {
    served.hanging.push(response);
    return;
  }
  if (typeof what === 'number') {
    response.writeHead(what).end();
    return;
  }
  // Only what changes something is worth losing the answer to.
  const isLost = what === 'lose' && request.method === 'POST';
  const backend = spawn(BACKEND, [], {
    env: {
      ...{ PATH: process.env.PATH ?? '', HOME: '/nonexistent', LC_ALL: 'C' },
      ...{ GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: '1', GIT_CONFIG_NOSYSTEM: '1' },
      ...{ REQUEST_METHOD: request.method ?? 'GET', PATH_INFO: pathname, QUERY_STRING: search.slice(1) },
      ...{ CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_USER: user, REMOTE_ADDR: '127.0.0.1' },
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // It may end before it has read everything.
  backend.stdin.on('error', () => undefined);
  request.pipe(backend.stdin);
  const chunks: Buffer[] = [];
  backend.stdout.on('data', chunk => void chunks.push(chunk));
  backend.on('close', () => {
    if (isLost) {
      response.destroy();
      return;
    }
    const whole = Buffer.concat(chunks);
    const end = whole.indexOf('\r\n\r\n');
    const lines = whole.subarray(0, end).toString().split('\r\n');
    const headers = lines.map(line => /^([^:]+): (.*)$/.exec(line)).filter(match => match !== null);
    let status = 200;
    for (const [, name = '', value = ''] of headers) {
      if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.writeHead(status).end(whole.subarray(end + 4));
  });
}

/** Who asks; null when he has to say it first. */
function userOf(request: IncomingMessage, users: ReadonlyMap<string, string>): string | null {
  if (users.size === 0) return 'anybody';
  const given = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const [, user = '', password = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(given, 'base64').toString()) ?? [];
  return user !== '' && users.get(user) === password ? user : null;
}
