/** The facts as JSON, the files of attempts as they are, and the actions. */
import { type Context, Hono } from 'hono';
import { type Fault, InvalidInput } from '../../errors.ts';
import { taskIdFault } from '../../job/names.ts';
import type { ActionAnswer } from '../actions.ts';
import { taskPath } from '../pages/words.ts';
import { readAttemptFiles } from '../task-files.ts';
import { placeOf, readArtifact } from '../view/artifact-file.ts';
import { afterFaults, LIMIT_MAX, LISTED_STATES, type ListOptions } from '../view/task-list.ts';
import { attemptOf, type Env, NotThere, type RouteParts, taskOf } from './parts.ts';

const LIMIT = 100;
/** Bytes of a file that are held at a time. */
const CHUNK = 1024 * 1024;

const STATUS = { done: 200, refused: 409, unknown: 404 } as const satisfies Record<ActionAnswer['how'], number>;

export function apiRoutes({ readings, site, actions }: RouteParts): Hono<Env> {
  const app = new Hono<Env>();
  app.get('/api/pool', async c => c.json(await readings.pool()));

  app.get('/api/tasks', async c => c.json(await readings.tasks(wantedOf(c.req.query()))));

  app.get('/api/tasks/:id', async c => c.json(await taskOf(c, readings)));

  app.get('/api/tasks/:id/attempts/:nth/transcript', async c => {
    const { result } = await attemptOf(c, readings);
    const files = await readAttemptFiles(site, result);
    if (files.kind !== 'here' || files.transcript === null) throw new NotThere('There is no transcript here.');
    return c.json(files.transcript);
  });

  app.get('/api/tasks/:id/attempts/:nth/files', async c => {
    const { result } = await attemptOf(c, readings);
    const files = await readAttemptFiles(site, result);
    if (files.kind !== 'here') return c.json(files);
    return c.json({ kind: files.kind, folder: files.folder, files: files.files });
  });

  for (const path of ['/api/tasks/:id/attempts/:nth/files/:file', '/tasks/:id/attempts/:nth/files/:file']) {
    app.get(path, async c => {
      const { result } = await attemptOf(c, readings);
      const body = await fileOf(site.home, result.taskId, result.artifacts, c.req.param('file') ?? '');
      if (body === null) throw new NotThere('There is no such file here.');
      // Whatever it is called, no browser is to take it for anything but text.
      c.header('Content-Type', 'text/plain; charset=utf-8');
      return c.body(body);
    });
  }

  app.post('/api/tasks/:id/cancel', c => act(c, id => actions.cancel(id)));
  app.post('/api/tasks/:id/retry', c => act(c, id => actions.retry(id)));
  app.post('/api/pause', async c => answer(c, await actions.pause(), '/'));
  app.post('/api/resume', async c => answer(c, await actions.resume(), '/'));
  return app;
}

/** What is left out or empty is as usual. @throws {InvalidInput} with all that is wrong */
function wantedOf({ state = '', limit = '', after: from = '' }: Record<string, string>): ListOptions {
  const after = from === '' ? undefined : from;
  const names = state === '' ? [] : state.split(',');
  const count = limit === '' ? LIMIT : /^\d{1,6}$/.test(limit) ? Number(limit) : 0;
  const faults: Fault[] = names
    .filter(name => !LISTED_STATES.some(one => one === name))
    .map(name => ({ where: 'state', what: `knows ${LISTED_STATES.join(', ')}, not ${inQuotes(name)}` }));
  if (count < 1 || count > LIMIT_MAX) {
    faults.push({ where: 'limit', what: `is a whole number from 1 to ${LIMIT_MAX}, not ${inQuotes(limit)}` });
  }
  faults.push(...afterFaults(after));
  if (faults.length > 0) throw new InvalidInput(faults);
  const states = names.length === 0 ? {} : { states: LISTED_STATES.filter(one => names.includes(one)) };
  return { ...states, limit: count, after };
}

function inQuotes(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}

async function act(c: Context<Env>, action: (taskId: string) => Promise<ActionAnswer>): Promise<Response> {
  const taskId = c.req.param('id') ?? '';
  if (taskIdFault(taskId) !== null) throw new NotThere('There is no such task.');
  return answer(c, await action(taskId), taskPath(taskId));
}

/** JSON for the script of the page and others; a form without a script is led back to its page. */
function answer(c: Context<Env>, { how, message }: ActionAnswer, path: string): Response {
  const isForm = /\btext\/html\b/.test(c.req.header('accept') ?? '');
  if (isForm && how === 'done') return c.redirect(path, 303);
  if (isForm) return c.text(message, STATUS[how]);
  return c.json({ how, message }, STATUS[how]);
}

/** The whole file, read piece by piece; null when there is none. */
async function fileOf(
  home: string,
  taskId: string,
  folder: string,
  file: string,
): Promise<ReadableStream<Uint8Array> | null> {
  const place = placeOf(home, taskId, folder);
  if (place === null || (await readArtifact(place, file, { most: 0 })) === null) return null;
  let from = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const part = await readArtifact(place, file, { from, most: CHUNK });
      if (part === null || part.bytes.length === 0) return controller.close();
      from += part.bytes.length;
      controller.enqueue(part.bytes);
    },
  });
}
