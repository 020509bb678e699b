/**
 * The tasks of a pool, a page at a time: those that run, those in line in the order in which they come up, those that
 * wait for something, then the ended ones, latest first. Only the jobs of the page are read.
 */
import type { JobType } from 'bullmq';
import { type Fault, InvalidInput } from '../../errors.ts';
import { endedKeys } from '../../redis/keys.ts';
import { pipelined } from '../../redis/pipelined.ts';
import type { ViewContext } from './context.ts';
import type { TaskFacts, TaskState } from './facts.ts';
import { listedTask } from './listed-task.ts';
import { viewJobs } from './viewed-job.ts';

export const LISTED_STATES = ['running', 'waiting', 'delayed', 'completed', 'failed'] as const;
export type ListedState = (typeof LISTED_STATES)[number];

export interface ListOptions {
  /** Left out: all. */
  states?: readonly ListedState[];
  /** Tasks on the page, from 1 to `LIMIT_MAX`. */
  limit: number;
  /** `next` of the page before. */
  after?: string | undefined;
}

export interface TaskPage {
  tasks: TaskFacts[];
  /** null on the last page. */
  next: string | null;
}

export const LIMIT_MAX = 500;

interface Entry {
  id: string;
  state: TaskState;
  /** What the next page begins after, when this is the last entry of its page. */
  mark: string;
}

/** Where the page before ended: in which part, how far into it, and with which job. */
interface Place {
  part: Part;
  offset: number;
  id: string;
}

const PARTS = ['running', 'waiting', 'delayed', 'ended'] as const;
type Part = (typeof PARTS)[number];

/** @throws {InvalidInput} for an `after` that no page gave; the error of Redis when it is away */
export async function listTasks(context: ViewContext, { states, limit, after }: ListOptions): Promise<TaskPage> {
  const wanted = new Set<ListedState>(states ?? LISTED_STATES);
  const place = after === undefined ? null : placeOf(after);
  if (after !== undefined && place === null) throw new InvalidInput([NO_MARK]);
  const size = Math.min(Math.max(1, Math.floor(limit)), LIMIT_MAX);
  const found: Entry[] = [];
  for (const part of PARTS.slice(place === null ? 0 : PARTS.indexOf(place.part))) {
    // One more than the page holds tells whether there is another page.
    const room = size + 1 - found.length;
    if (room <= 0) break;
    const from = place?.part === part ? place : null;
    if (part === 'ended') found.push(...(await ended(context, wanted, from, room)));
    else if (wanted.has(part)) found.push(...(await live(context, part, from?.offset ?? 0, room)));
  }
  const page = found.slice(0, size);
  const jobs = await viewJobs(
    context,
    page.map(({ id }) => id),
  );
  const tasks = page.flatMap(({ state }, at) => {
    const job = jobs[at];
    return job == null ? [] : [listedTask(job, state)];
  });
  return { tasks, next: found.length > size ? (page.at(-1)?.mark ?? null) : null };
}

/** BullMQ's lists of each part, in the order in which they come up. */
const LISTS = {
  running: ['active'],
  waiting: ['wait', 'prioritized'],
  delayed: ['delayed'],
} as const satisfies Record<Exclude<Part, 'ended'>, readonly JobType[]>;

/** By place in line, which moves while one looks: a task may be seen on two pages, or on none. */
async function live({ queue }: ViewContext, part: keyof typeof LISTS, from: number, room: number): Promise<Entry[]> {
  const found: Entry[] = [];
  let before = 0;
  for (const list of LISTS[part]) {
    const start = Math.max(0, from - before);
    const left = room - found.length;
    const ids = left > 0 ? await queue.getRanges([list], start, start + left - 1, true) : [];
    for (const [at, id] of ids.entries()) found.push({ id, state: part, mark: `${part}.${before + start + at + 1}.` });
    if (LISTS[part].length > 1) before += await queue.getJobCountByTypes(list);
  }
  return found;
}

/** Latest first, by end and then by id, so that what ends meanwhile moves nothing. */
async function ended(
  { redis, prefix }: ViewContext,
  wanted: ReadonlySet<ListedState>,
  from: Place | null,
  room: number,
): Promise<Entry[]> {
  const keys = endedKeys(prefix);
  const states = (['completed', 'failed'] as const).filter(state => wanted.has(state));
  const found = await Promise.all(
    states.map(async state => {
      const pairs = await endedAfter({ redis }, keys[state], from, room);
      return pairs.map(({ id, at }) => ({ id, at, state, mark: `ended.${at}.${id}` }));
    }),
  );
  return found
    .flat()
    .sort((a, b) => b.at - a.at || compareBytes(b.id, a.id))
    .slice(0, room);
}

async function endedAfter({ redis }: Pick<ViewContext, 'redis'>, key: string, from: Place | null, room: number) {
  const found: { id: string; at: number }[] = [];
  const highest = from === null ? '+inf' : String(from.offset);
  // Jobs may have ended in the same millisecond as the last of the page before; they are passed over, however many.
  for (let offset = 0; found.length < room; offset += room) {
    const [reply] = await pipelined(
      redis.pipeline().zrevrangebyscore(key, highest, '-inf', 'WITHSCORES', 'LIMIT', offset, room),
    );
    const pairs = (reply ?? []) as string[];
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const [id = '', score = ''] = pairs.slice(at, at + 2);
      const isSeen = from !== null && Number(score) === from.offset && compareBytes(id, from.id) >= 0;
      if (!isSeen) found.push({ id, at: Number(score) });
    }
    if (pairs.length < 2 * room) break;
  }
  return found.slice(0, room);
}

/** As Redis orders members of the same score. */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const NO_MARK: Fault = { where: 'after', what: 'is not the end of a page' };

/** For whoever tells all that is wrong at once. */
export function afterFaults(after: string | undefined): readonly Fault[] {
  return after === undefined || placeOf(after) !== null ? [] : [NO_MARK];
}

function placeOf(after: string): Place | null {
  const [, name, offset, id = ''] = /^([a-z]+)\.(\d{1,15})\.(.*)$/s.exec(after) ?? [];
  const part = PARTS.find(one => one === name);
  return part === undefined ? null : { part, offset: Number(offset), id };
}
