/** The page of one task: how it stands, its attempts, and one of them in full. */
import type { CellFacts, TaskDetail } from '../view/facts.ts';
import { attemptSection, type ShownAttempt } from './attempt.ts';
import { dollars, duration, elapsedSince, type Now, pastMoment, short, size, whole } from './figures.ts';
import { type Html, html } from './html.ts';
import { landingOfTask } from './landings.ts';
import { cancelAction, page, part, retryAction } from './layout.ts';
import { stateBadge } from './tasks-page.ts';
import { timeline } from './timeline.ts';
import { badge, nothing, outcomeBadge, table, taskName, taskPath, testsInWords } from './words.ts';

/** The parts that are kept up to date. */
export function taskParts(task: TaskDetail, now: Now = null): Record<string, Html> {
  return { 'task-state': statePart(task, now), attempts: attemptsPart(task), log: logPart(task) };
}

/** What is told of it when its job is not there any more; the rest of the page stays as it was. */
export function goneParts(): Record<string, Html> {
  return { 'task-state': html`<p class="notice">This task is not on the queue any more.</p>` };
}

export function taskPage(task: TaskDetail, shown: ShownAttempt | null, now: number): string {
  const parts = taskParts(task, now);
  const content = html`<h1>${task.title ?? task.taskId}</h1>
<p class="title"><code>${task.taskId}</code></p>
${part('task-state', parts['task-state'])}
<details class="asked"><summary>What is asked</summary>
<pre tabindex="0" aria-label="Prompt">${task.prompt}</pre>
<dl class="facts">${factsOf(task).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></details>
<section aria-labelledby="attempts-title"><h2 id="attempts-title">Attempts</h2>
${part('attempts', parts.attempts)}</section>
${shown !== null && html`<section class="attempt" aria-labelledby="attempt-title">${attemptSection(task, shown)}</section>`}
<section aria-labelledby="log-title"><h2 id="log-title">Log</h2>
${part('log', parts.log)}</section>`;
  const events = `/events?task=${encodeURIComponent(task.taskId)}`;
  return page({ title: task.title ?? task.taskId, here: 'tasks', content, now, events });
}

function factsOf(task: TaskDetail): [string, Html | string][] {
  const none = '–';
  return [
    ['Repository', html`<code>${task.repository}</code>`],
    ['Base', html`<code>${task.base}</code>`],
    ['Lands', task.lands === null ? none : html`on <code>${task.lands.target}</code>, by ${task.lands.how}`],
    ['Setup', task.setup === null ? none : html`<code>${task.setup}</code>`],
    ['Test', task.test === null ? none : html`<code>${task.test}</code>`],
    ['Model', task.model ?? none],
    ['Tokens of an attempt', whole(task.tokenBudget)],
    ['Time of an attempt', duration(task.timeoutMs)],
    [
      'Depends on',
      task.dependsOn.length === 0
        ? none
        : html`${task.dependsOn.map(id => html`${taskName({ taskId: id, title: null })} `)}`,
    ],
  ];
}

function statePart(task: TaskDetail, now: Now): Html {
  const { taskId, state, outcome, attempt, attempts, waitsFor, fault, cell, tokensUsed, enqueuedAt, endedAt } = task;
  const isOver = state === 'completed' || state === 'failed';
  const retry = retryAction(taskId, state === 'delayed' ? 'Try now' : 'Retry');
  return html`<div class="switch">${stateBadge(state)} ${outcome !== null && outcomeBadge(outcome)}
<span>attempt ${attempt} of ${attempts}, ${short(tokensUsed)} tokens, enqueued ${pastMoment(enqueuedAt, now)}${endedAt !== null && html`, ended ${pastMoment(endedAt, now)}`}</span>
${!isOver && cancelAction(taskId)}${(state === 'failed' || state === 'delayed') && retry}</div>
${waitsFor !== null && html`<p>It waits for ${waitsFor}.</p>`}
${fault !== null && html`<p class="warning">This job is not one of cellpool’s: ${fault}</p>`}
${cell !== null && cellLine(cell, now)}
${landingOfTask(task, now)}`;
}

function cellLine(cell: CellFacts, now: Now): Html {
  const facts = [
    `on ${cell.host}`,
    `${short(cell.tokensUsed)}${cell.tokenBudget === null ? '' : ` of ${short(cell.tokenBudget)}`} tokens`,
    ...(cell.memoryBytes === null ? [] : [size(cell.memoryBytes)]),
    ...(cell.port === null ? [] : [`port ${cell.port}`]),
    `isolation ${cell.isolation}`,
  ];
  return html`<p>${badge(`stage ${cell.stage}`, cell.stage)} ${elapsedSince(cell.startedAt, now)}, ${facts.join(', ')}</p>`;
}

function attemptsPart({ taskId, results }: TaskDetail): Html {
  if (results.length === 0) return nothing('None has ended yet.');
  const columns = ['Attempt', 'Outcome', 'Stages', 'Tests', 'Files', 'Tokens', 'Cost', 'Time'];
  const figures = new Set(['Files', 'Tokens', 'Cost', 'Time']);
  return table(
    'Attempts that have ended, the latest first',
    columns.map(name => ({ name, isFigure: figures.has(name) })),
    results
      .map((result, index) => [
        html`<a href="${taskPath(taskId)}/attempts/${index + 1}#attempt-title">Attempt\u00a0${result.attempt}</a>`,
        html`${outcomeBadge(result.outcome)}${result.error !== null && html` <span class="title">${result.error.code}</span>`}`,
        timeline(result, 'small'),
        testsInWords(result),
        result.filesModified.length,
        short(result.tokensUsed),
        result.costUsd === undefined ? '–' : dollars(result.costUsd),
        duration(result.metrics.totalMs),
      ])
      .reverse(),
  );
}

function logPart({ log }: TaskDetail): Html {
  return log.length === 0
    ? nothing('Empty.')
    : html`<pre class="log" tabindex="0" aria-label="Log of the job">${log.join('\n')}</pre>`;
}
