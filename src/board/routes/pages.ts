/** The pages for people, and the streams that keep them up to date. */
import { type Context, Hono } from 'hono';
import { CellpoolError } from '../../errors.ts';
import { taskIdFault } from '../../job/names.ts';
import type { Parts } from '../live.ts';
import type { LiveStreams } from '../live-streams.ts';
import type { ShownAttempt } from '../pages/attempt.ts';
import type { Html } from '../pages/html.ts';
import { poolPage, poolParts } from '../pages/pool-page.ts';
import { goneParts, taskPage, taskParts } from '../pages/task-page.ts';
import { tasksPage } from '../pages/tasks-page.ts';
import type { Readings } from '../readings.ts';
import { readAttemptFiles } from '../task-files.ts';
import { LISTED_STATES } from '../view/task-list.ts';
import { attemptOf, type Env, NotThere, type RouteParts, taskOf } from './parts.ts';

const TASKS_ON_A_PAGE = 100;

export function pageRoutes(parts: RouteParts): Hono<Env> {
  const { readings, site } = parts;
  const app = new Hono<Env>();

  app.get('/', async c => {
    try {
      return c.html(poolPage(await readings.pool(), Date.now(), null));
    } catch (error) {
      if (!(error instanceof CellpoolError) || error.code !== 'REDIS_UNAVAILABLE') throw error;
      // The page fills itself once Redis is back.
      return c.html(poolPage(null, Date.now(), error.message), 503);
    }
  });

  app.get('/tasks', async c => {
    const { id, state, after } = c.req.query();
    if (id !== undefined) {
      if (taskIdFault(id.trim()) !== null) throw new NotThere('There is no such task.');
      return c.redirect(`/tasks/${encodeURIComponent(id.trim())}`, 303);
    }
    const listed = LISTED_STATES.find(one => one === state) ?? null;
    const states = listed === null ? {} : { states: [listed] };
    const found = await readings.tasks({ ...states, limit: TASKS_ON_A_PAGE, after });
    return c.html(tasksPage(listed, found, after === undefined, Date.now()));
  });

  app.get('/tasks/:id', async c => {
    const task = await taskOf(c, readings);
    const nth = task.results.length;
    const result = task.results.at(-1);
    const shown: ShownAttempt | null =
      result === undefined ? null : { nth, result, files: await readAttemptFiles(site, result) };
    return c.html(taskPage(task, shown, Date.now()));
  });

  app.get('/tasks/:id/attempts/:nth', async c => {
    const { task, nth, result } = await attemptOf(c, readings);
    return c.html(taskPage(task, { nth, result, files: await readAttemptFiles(site, result) }, Date.now()));
  });

  app.get('/events', c => events(c, parts));
  return app;
}

async function events(c: Context<Env>, { readings, streams }: RouteParts): Promise<Response> {
  const { task: taskId } = c.req.query();
  // A task that is not there now may be put on the queue anew, but nobody looks at a page of it.
  if (taskId !== undefined && (await readings.task(taskId)) === null) throw new NotThere('There is no such task.');
  c.header('Content-Type', 'text/event-stream; charset=utf-8');
  // nginx would keep it back until there is a lot of it.
  c.header('X-Accel-Buffering', 'no');
  if (c.req.method === 'HEAD') return c.body(null);
  const destroy = () => void c.env.incoming.socket.destroy();
  const stream =
    taskId === undefined ? poolStream(readings, streams, destroy) : taskStream(readings, streams, taskId, destroy);
  if (stream !== null) return c.body(stream);
  c.header('Content-Type', 'text/plain; charset=utf-8');
  return c.body('This board has as many live pages open as it may.\n', 503);
}

function poolStream(readings: Readings, streams: LiveStreams, destroy: () => void) {
  return streams.open(
    'pool',
    async () => {
      const facts = await readings.pool();
      return { at: facts.at, parts: texts(poolParts(facts)) };
    },
    destroy,
  );
}

function taskStream(readings: Readings, streams: LiveStreams, taskId: string, destroy: () => void) {
  return streams.open(
    `task ${taskId}`,
    async () => {
      const task = await readings.task(taskId);
      return { at: Date.now(), parts: texts(task === null ? goneParts() : taskParts(task)) };
    },
    destroy,
  );
}

function texts(parts: Readonly<Record<string, Html>>): Parts {
  return Object.fromEntries(Object.entries(parts).map(([id, content]) => [id, content.toString()]));
}
