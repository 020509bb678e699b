/** The board as a running server. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import type { Credentials } from './access.ts';
import { type BoardParts, boardApp } from './app.ts';
import { hostInUrl, listen } from './listen.ts';
import { LiveStreams, type LiveStreamsOptions } from './live-streams.ts';

export interface BoardOptions extends BoardParts {
  host: string;
  /** 0: one that is free. */
  port: number;
  /** As `accessOf` gives them for this host; null: who reaches it may use it. */
  credentials: Credentials | null;
  live?: Omit<LiveStreamsOptions, 'say'>;
}

export interface RunningBoard {
  readonly url: string;
  readonly streams: LiveStreams;
  /** Ends all streams and connections, and listens no more. */
  close(): Promise<void>;
}

/** Answers that are on their way get so long to arrive. */
const CLOSE_MS = 1_000;
const IDLE_MS = 20;

/** @throws {CellpoolError} `CANNOT_LISTEN` */
export async function startBoard(options: BoardOptions): Promise<RunningBoard> {
  const { host, port, credentials, live, say } = options;
  const streams = new LiveStreams({ ...live, say });
  const app = boardApp(options, streams, { host, credentials });
  // Without options of another protocol it is one of HTTP/1.1.
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  const actual = await listen(server, host, port).catch((error: unknown) => {
    streams.close();
    throw error;
  });
  return {
    url: `http://${hostInUrl(host)}:${actual}/`,
    streams,
    async close() {
      streams.close();
      const closed = once(server, 'close');
      server.close();
      // A connection is idle only when the end of its stream has been sent.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_MS);
      const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
      await closed;
      clearInterval(idle);
      clearTimeout(timer);
    },
  };
}
