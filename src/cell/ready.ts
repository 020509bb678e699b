/**
 * When is a server ready? When the one that answers is ours: the process we started is alive, it accepts our random
 * password, and it refuses a caller without one. A stale server on a recycled port passes none of these together.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { CellpoolError } from '../errors.ts';
import type { OwnedProcess } from '../os/process.ts';

/** A request that arrives just before the server listens can hang for ever, so each gets a limit of its own. */
const REQUEST_MS = 300;
const POLL_MS = 25;

export function authorization(password: string): string {
  return `Basic ${Buffer.from(`opencode:${password}`).toString('base64')}`;
}

/**
 * Waits until our server answers and returns its version.
 * @throws {CellpoolError} SERVER_EXITED with its last output, SPAWN_FAILED after `bootMs`, CANCELLED
 */
export async function waitUntilReady(
  server: OwnedProcess,
  options: { baseUrl: string; password: string; bootMs: number; signal?: AbortSignal | undefined },
): Promise<string> {
  const deadline = performance.now() + options.bootMs;
  while (performance.now() < deadline) {
    if (options.signal?.aborted) throw new CellpoolError('CANCELLED', 'cancelled while the server was starting');
    if (server.endedWith !== null) {
      // Its last words may still be in the pipe; stopping what has ended reads them.
      await server.stop(0);
      throw new CellpoolError(
        'SERVER_EXITED',
        `the server ended with code ${server.endedWith.exitCode}: ${lastWords(server)}`,
        {
          facts: { exitCode: server.endedWith.exitCode, signal: server.endedWith.signal },
        },
      );
    }
    const version = await askHealth(options.baseUrl, options.password);
    if (version !== null && (await refusesStrangers(options.baseUrl)) && server.endedWith === null) return version;
    await Promise.race([sleep(POLL_MS), server.exited]);
  }
  throw new CellpoolError(
    'SPAWN_FAILED',
    `the server did not answer within ${options.bootMs} ms: ${lastWords(server)}`,
    {
      hint: 'Allow more time with limits.bootMs, or run fewer cells at once.',
    },
  );
}

/** The version of a healthy server that accepts the password, or null. */
export async function askHealth(baseUrl: string, password: string, timeoutMs = REQUEST_MS): Promise<string | null> {
  const response = await request(baseUrl, { authorization: authorization(password) }, timeoutMs);
  if (response?.status !== 200) {
    await response?.body?.cancel();
    return null;
  }
  const body = (await response.json().catch(() => null)) as { healthy?: unknown; version?: unknown } | null;
  return body?.healthy === true ? String(body.version) : null;
}

async function refusesStrangers(baseUrl: string): Promise<boolean> {
  const response = await request(baseUrl, {}, REQUEST_MS);
  await response?.body?.cancel();
  return response?.status === 401;
}

async function request(baseUrl: string, headers: Record<string, string>, timeoutMs: number): Promise<Response | null> {
  // Refused, reset or too slow: not ready yet, which is an answer here.
  return fetch(`${baseUrl}/global/health`, { headers, signal: AbortSignal.timeout(timeoutMs) }).catch(() => null);
}

function lastWords(server: OwnedProcess): string {
  return server.log.tail(1_000).trim() || 'it printed nothing';
}
