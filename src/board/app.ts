/** All that the board answers to, behind one guard. */
import { Hono } from 'hono';
import { asCellpoolError, CellpoolError, messageOf } from '../errors.ts';
import type { BoardActions } from './actions.ts';
import { assetOf } from './assets.ts';
import { type Place, refusalOf } from './guard.ts';
import { headersFor } from './headers.ts';
import type { LiveStreams } from './live-streams.ts';
import { metricsText } from './metrics.ts';
import { errorPage } from './pages/error-page.ts';
import { POOL_OPTIONS } from './pages/pool-page.ts';
import { Readings } from './readings.ts';
import { apiRoutes } from './routes/api.ts';
import { pageRoutes } from './routes/pages.ts';
import { type Env, NotThere } from './routes/parts.ts';
import { queueRoutes } from './routes/queues.ts';
import type { Site } from './view/artifact-file.ts';
import type { ViewContext } from './view/context.ts';

export interface BoardParts {
  view: ViewContext;
  site: Site;
  actions: BoardActions;
  /** Told of what the board itself failed with. */
  say: (message: string) => void;
}

/** `port`: the one listened on, which is not known before. */
export function boardApp(parts: BoardParts, streams: LiveStreams, place: Omit<Place, 'port'>): Hono<Env> {
  const readings = new Readings(parts.view, POOL_OPTIONS);
  const routes = { readings, streams, site: parts.site, actions: parts.actions };
  const app = new Hono<Env>();

  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(headersFor(c.req.path))) {
      // Only what has a name for its content may be kept by a browser.
      if (name !== 'Cache-Control' || !c.res.headers.has(name)) c.res.headers.set(name, value);
    }
  });
  app.use(async (c, next) => {
    const header = (name: string) => c.req.header(name);
    const refusal = refusalOf(
      {
        method: c.req.method,
        path: c.req.path,
        host: header('host'),
        origin: header('origin'),
        fetchSite: header('sec-fetch-site'),
        fetchMode: header('sec-fetch-mode'),
        contentType: header('content-type'),
        contentLength: header('content-length'),
        transferEncoding: header('transfer-encoding'),
        authorization: header('authorization'),
      },
      { ...place, port: c.env.incoming.socket.localPort ?? 0 },
    );
    if (refusal === null) return next();
    if (refusal.status === 401) c.header('WWW-Authenticate', 'Basic realm="cellpool", charset="UTF-8"');
    return c.text(`${refusal.text}\n`, refusal.status);
  });

  app.get('/healthz', c => c.text('alive\n'));
  app.get('/readyz', async c => {
    await readings.ping();
    return c.text('ready\n');
  });
  app.get('/assets/:name', c => {
    const asset = assetOf(c.req.param('name'));
    if (asset === null) throw new NotThere('There is no such file.');
    c.header('Content-Type', asset.type);
    c.header('Cache-Control', 'private, max-age=86400');
    return c.body(asset.text);
  });
  app.get('/metrics', async c => {
    const { text, contentType } = await readings.by(() => metricsText(parts.view));
    return c.body(text, 200, { 'Content-Type': contentType });
  });
  app.route('/', pageRoutes(routes));
  app.route('/', apiRoutes(routes));
  app.route(
    '/',
    queueRoutes(parts.view, parts.actions, () => parts.view.redis.status === 'ready'),
  );

  app.notFound(c => told(c.req.path, 404, 'There is no such page.'));
  app.onError((error, c) => {
    if (error instanceof NotThere) return told(c.req.path, 404, error.message);
    const { code, message } = asCellpoolError(error);
    if (code === 'REDIS_UNAVAILABLE') return told(c.req.path, 503, message);
    if (error instanceof CellpoolError && error.exitCode === 2) return told(c.req.path, 400, message);
    parts.say(`The board failed at ${c.req.method} ${c.req.path}: ${messageOf(error)}`);
    return told(c.req.path, 500, 'The board has failed at that; it has said on its own output why.');
  });
  return app;
}

/** A page for people, a line for machines. */
function told(path: string, status: 400 | 404 | 500 | 503, message: string): Response {
  if (/^\/(api|events|readyz|healthz|metrics|assets|queues\/api)(\/|$)/.test(path)) {
    return Response.json({ error: message }, { status });
  }
  return new Response(errorPage(status, message, Date.now()), {
    status,
    headers: { 'Content-Type': 'text/html; charset=UTF-8' },
  });
}
