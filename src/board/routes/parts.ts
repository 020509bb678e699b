/** What the routes of the board work with, and how they say that something is not there. */
import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { AttemptResult } from '../../job/outcome.ts';
import type { BoardActions } from '../actions.ts';
import type { LiveStreams } from '../live-streams.ts';
import type { Readings } from '../readings.ts';
import type { Site } from '../view/artifact-file.ts';
import type { TaskDetail } from '../view/facts.ts';

export type Env = { Bindings: HttpBindings };

export interface RouteParts {
  readings: Readings;
  streams: LiveStreams;
  site: Site;
  actions: BoardActions;
}

/** There is no such thing; told as a 404. */
export class NotThere extends Error {
  override readonly name = 'NotThere';
}

/** @throws {NotThere} */
export async function taskOf(c: Context<Env>, readings: Readings): Promise<TaskDetail> {
  const task = await readings.task(c.req.param('id') ?? '');
  if (task === null) throw new NotThere('There is no such task.');
  return task;
}

/** The attempt that the address names by its place among the results, from 1. @throws {NotThere} */
export async function attemptOf(
  c: Context<Env>,
  readings: Readings,
): Promise<{ task: TaskDetail; nth: number; result: AttemptResult }> {
  const task = await taskOf(c, readings);
  const text = c.req.param('nth') ?? '';
  const nth = /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 0;
  const result = task.results[nth - 1];
  if (result === undefined) throw new NotThere('There is no such attempt of this task.');
  return { task, nth, result };
}
