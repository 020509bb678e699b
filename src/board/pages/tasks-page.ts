/** The list of tasks, a page at a time. */
import type { TaskFacts } from '../view/facts.ts';
import type { ListedState, TaskPage } from '../view/task-list.ts';
import { pastMoment } from './figures.ts';
import { type Html, html } from './html.ts';
import { page } from './layout.ts';
import { badge, nothing, outcomeBadge, repositoryName, table, taskName } from './words.ts';

const FILTERS: readonly (ListedState | null)[] = [null, 'running', 'waiting', 'delayed', 'failed', 'completed'];

const COLUMNS = ['Task', 'State', 'Outcome', 'Attempt', 'Repository', 'Enqueued', 'Ended'];

/** Told by their colour beside their name. */
const STATE_BADGES = {
  running: 'execute',
  waiting: 'open',
  delayed: 'reverted',
  completed: 'committed',
  failed: 'failed',
  unknown: 'open',
} as const satisfies Record<TaskFacts['state'], string>;

export function stateBadge(state: TaskFacts['state']): Html {
  return badge(STATE_BADGES[state], state);
}

export function tasksPage(state: ListedState | null, { tasks, next }: TaskPage, isFirst: boolean, now: number): string {
  const filters = FILTERS.map(
    one =>
      html`<li><a href="/tasks${one !== null && `?state=${one}`}"${one === state && html` aria-current="true"`}>${one ?? 'all'}</a></li>`,
  );
  const list =
    tasks.length === 0
      ? nothing(isFirst ? 'There is no such task.' : 'There are no more.')
      : table(
          state === null ? 'All tasks' : `Tasks: ${state}`,
          COLUMNS.map(name => ({ name, isFigure: name === 'Attempt' })),
          tasks.map(task => rowOf(task, now)),
        );
  const query = new URLSearchParams({
    ...(state === null ? {} : { state }),
    ...(next === null ? {} : { after: next }),
  });
  const content = html`<h1>Tasks</h1>
<form class="find" method="get" action="/tasks" role="search"><label for="id">Task id</label>
<input id="id" name="id" maxlength="100" autocomplete="off" spellcheck="false" required> <button>Open</button></form>
<nav aria-label="Tasks by state"><ul class="filters">${filters}</ul></nav>
${list}
<nav class="pages" aria-label="Pages of the list">${!isFirst && html`<a href="/tasks${state !== null && `?state=${state}`}">First page</a> `}${next !== null && html`<a rel="next" href="/tasks?${query.toString()}">Next page</a>`}</nav>`;
  return page({ title: 'Tasks', here: 'tasks', content, now });
}

function rowOf(task: TaskFacts, now: number) {
  const { state, outcome, attempt, attempts, repository, enqueuedAt, endedAt, waitsFor, fault } = task;
  const why = fault ?? (waitsFor === null ? null : `waits for ${waitsFor}`);
  return [
    html`${taskName(task)}${why !== null && html` <span class="title">${why}</span>`}`,
    stateBadge(state),
    outcomeBadge(outcome),
    attempts === 0 ? '–' : `${attempt} of ${attempts}`,
    repositoryName(repository),
    pastMoment(enqueuedAt, now),
    endedAt === null ? '–' : pastMoment(endedAt, now),
  ];
}
