/** Bull Board below `/queues`: every queue with its jobs as BullMQ has them. */
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { HonoAdapter } from '@bull-board/hono';
import { serveStatic } from '@hono/node-server/serve-static';
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { CellpoolError } from '../../errors.ts';
import { type LandingQueue, taskOfLanding } from '../../job/landing.ts';
import { LANDING_QUEUE, taskIdFault } from '../../job/names.ts';
import type { TaskQueue } from '../../job/queue.ts';
import type { ActionAnswer, BoardActions } from '../actions.ts';
import { taskPath } from '../pages/words.ts';
import type { Env } from './parts.ts';

const BASE = '/queues';
/** Characters of what Bull Board says of an error of its own; they are told on the board's output, and to no page. */
const SAID_MAX = 300;

/** Its buttons that do what the commands do: those know of budgets, marks, shares, dependants and cool-downs. */
const INSTEAD = { retry: 'retry', promote: 'retry', clean: 'cancel' } as const;
const ONE_JOB = /^\/queues\/api\/queues\/([^/]+)\/([^/]+)\/(retry|promote|clean)$/;
/** Of the queue of tasks, or of all queues: the pool is paused as one. */
const POOL = /^\/queues\/api\/queues\/(?:([^/]+)\/)?(pause|resume)$/;

const asCommand =
  (actions: BoardActions, tasks: string): MiddlewareHandler<Env> =>
  async (c, next) => {
    if (c.req.method !== 'PUT') return next();
    const [, queue, whole] = POOL.exec(c.req.path) ?? [];
    const [, queueOfJob, id = '', how] = ONE_JOB.exec(c.req.path) ?? [];
    const named = queue ?? queueOfJob ?? tasks;
    // No command moves landings: a lander does. Their ids may be those of tasks, too.
    if (named === encodeURIComponent(LANDING_QUEUE)) return next();
    if (named !== tasks) return c.json({ error: 'There is no such queue.' }, 404);
    if (whole !== undefined) return told(c, await actions[whole as 'pause' | 'resume']());
    // `retry/completed` and the like are for all jobs of a state, and are no names of tasks either.
    if (how === undefined || id === 'retry' || id === 'clean') return next();
    const taskId = taskIdFault(id) === null ? id : null;
    if (taskId === null) return c.json({ error: 'That is no task.' }, 404);
    return told(c, await actions[INSTEAD[how as keyof typeof INSTEAD]](taskId));
  };

function told(c: Context<Env>, { how, message }: ActionAnswer): Response {
  return how === 'done' ? c.body(null, 204) : c.json({ error: message }, how === 'unknown' ? 404 : 409);
}

/**
 * Bull Board itself only shows. Were a job added or changed by it, that would name a command that workers run, and
 * whoever reaches the board without a password is any program of this machine. Nor does it work many anew or remove them.
 */
const mayDo: MiddlewareHandler<Env> = async (c, next) => {
  const { method } = c.req;
  if (method === 'GET' || method === 'HEAD') return next();
  return c.json({ error: 'This board does not do that; use the commands of cellpool.' }, 403);
};

/** Its pages ask for fonts of another site, and its errors may hold a stack. */
const tidied =
  (isThere: () => boolean): MiddlewareHandler<Env> =>
  async (c, next) => {
    await next();
    if (c.res.status >= 500) {
      if (!isThere()) throw new CellpoolError('REDIS_UNAVAILABLE', 'Redis does not answer.');
      throw new CellpoolError(
        'INTERNAL',
        `Bull Board cannot read what is on the queue; the list of tasks can (/tasks). It said: ${await beginningOf(c.res)}`,
      );
    }
    if (!c.res.headers.get('content-type')?.startsWith('text/html')) return;
    const page = (await c.res.text()).replace(/<link[^>]* href="https:[^>]*>/g, '');
    c.res = new Response(page, { status: c.res.status, headers: c.res.headers });
  };

async function beginningOf(response: Response): Promise<string> {
  return (await response.text()).slice(0, SAID_MAX);
}

/** `taskOf`: the task that a job's id is of; anybody may have put a job there under any name. */
const adapterOptions = (taskOf: (id: string) => string | null) => ({
  // A task that ended well is worked anew by `cellpool enqueue --again` alone. Bull Board's types leave this key out.
  allowCompletedRetries: false,
  externalJobUrl: ({ id }: { id?: string | number | null | undefined }) => {
    const taskId = taskOf(String(id ?? ''));
    return { displayText: 'Task', href: taskId === null ? '/tasks' : taskPath(taskId) };
  },
});

export function queueRoutes(
  { queue, landing }: { queue: TaskQueue; landing: LandingQueue },
  actions: BoardActions,
  isThere: () => boolean,
): Hono<Env> {
  const serverAdapter = new HonoAdapter(serveStatic);
  serverAdapter.setBasePath(BASE);
  createBullBoard({
    queues: [
      new BullMQAdapter(
        queue,
        adapterOptions(id => (taskIdFault(id) === null ? id : null)),
      ),
      new BullMQAdapter(landing, { ...adapterOptions(taskOfLanding), readOnlyMode: true }),
    ],
    serverAdapter,
    options: {
      uiConfig: {
        boardTitle: 'cellpool',
        boardLogo: { path: '/assets/icon.svg', width: 24, height: 24 },
        miscLinks: [{ text: 'Pool', url: '/' }],
        favIcon: { default: '/assets/icon.svg', alternative: '/assets/icon.svg' },
        hideDocsLink: true,
      },
    },
  });
  const app = new Hono<Env>();
  app.get(`${BASE}/`, c => c.redirect(BASE, 301));
  app.use(`${BASE}/*`, asCommand(actions, encodeURIComponent(queue.name)), mayDo, tidied(isThere));
  app.route(BASE, serverAdapter.registerPlugin());
  return app;
}
