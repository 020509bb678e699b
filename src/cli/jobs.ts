/** `cellpool jobs`: the tasks on the queue, and those that have ended. */
import type { ViewContext } from '../board/view/context.ts';
import type { TaskFacts } from '../board/view/facts.ts';
import { LISTED_STATES, type ListedState, listTasks } from '../board/view/task-list.ts';
import { allOf, countOf, listOf } from './faults.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { tellJson, type ViewFlags, viewing } from './viewing.ts';
import { age, shorten, table } from './words.ts';

export interface JobsFlags extends ViewFlags {
  state?: string;
  limit?: string;
}

const LIMIT = 50;
/** Tasks that are read at once. */
const PAGE = 500;
const TITLE_WIDTH = 40;
const NOTE_WIDTH = 80;

export async function jobs(flags: JobsFlags): Promise<number> {
  const [settings, states, limit] = allOf(
    () => settingsOf(flags),
    () => (flags.state === undefined ? [...LISTED_STATES] : listOf('--state', flags.state, LISTED_STATES)),
    () => (flags.limit === undefined ? LIMIT : countOf('--limit', flags.limit)),
  );
  return viewing(settings, async (context, stop) => {
    const tasks: TaskFacts[] = [];
    const isMore = await eachPage(context, { states, limit, stop }, page => {
      if (flags.json !== true) tasks.push(...page);
      else for (const task of page) tellJson(task);
    });
    if (flags.json !== true) process.stdout.write(`${inWords(tasks)}\n`);
    if (isMore) say(`There are more than ${limit}: see --limit and --state.`);
    return 0;
  });
}

/** Tells whether there are more than that. */
async function eachPage(
  context: ViewContext,
  { states, limit, stop }: { states: readonly ListedState[]; limit: number; stop: AbortSignal },
  onPage: (tasks: TaskFacts[]) => void,
): Promise<boolean> {
  let after: string | undefined;
  for (let left = limit; left > 0 && !stop.aborted; left -= PAGE) {
    const { tasks, next } = await listTasks(context, { states, limit: Math.min(left, PAGE), after });
    onPage(tasks);
    if (next === null) return false;
    after = next;
  }
  return true;
}

const HEAD = ['TASK', 'STATE', 'ATTEMPT', 'OUTCOME', 'ENQUEUED', 'ENDED', 'TITLE', 'NOTE'];

function inWords(tasks: readonly TaskFacts[]): string {
  if (tasks.length === 0) return 'There are no such tasks.';
  const now = Date.now();
  return table(
    HEAD,
    tasks.map(task => [
      shorten(task.taskId, 100),
      task.state,
      `${task.attempt}/${task.attempts}`,
      task.outcome ?? '-',
      `${age(now - task.enqueuedAt)} ago`,
      task.endedAt === null ? '-' : `${age(now - task.endedAt)} ago`,
      shorten(task.title ?? '', TITLE_WIDTH),
      shorten(noteOf(task), NOTE_WIDTH),
    ]),
  );
}

function noteOf({ fault, waitsFor }: TaskFacts): string {
  if (fault !== null) return `no job of cellpool: ${fault}`;
  return waitsFor === null ? '' : `waits: ${waitsFor}`;
}
