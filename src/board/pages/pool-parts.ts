/** The smaller parts of the live page. */
import { taskIdFault } from '../../job/names.ts';
import type { AttemptResult } from '../../job/outcome.ts';
import type { EndedFacts, PoolFacts, QueueFacts } from '../view/facts.ts';
import { isInUse } from '../view/landing-facts.ts';
import { comingMoment, counted, dollars, duration, type Now, pastMoment, short, whole } from './figures.ts';
import { type Html, html } from './html.ts';
import { action, retryAction } from './layout.ts';
import { badge, nothing, outcomeBadge, table, taskName, taskPath, testsInWords } from './words.ts';

/** Figures for a glance, and the switch that stops the whole pool. */
export function summaryPart({ cells, queues, workers, cooldowns }: PoolFacts): Html {
  const room = workers.reduce((sum, { concurrency }) => sum + concurrency, 0);
  const total = (of: (queue: QueueFacts) => number) => whole(queues.reduce((sum, queue) => sum + of(queue), 0));
  const figures: [string, string, string][] = [
    ['Cells', whole(cells.length), `of ${room} on ${counted(workers.length, 'worker')}`],
    ['Waiting', total(queue => queue.waiting), 'tasks in line'],
    ['Delayed', total(queue => queue.delayed), 'tasks for later'],
    ['Done', total(queue => queue.completed), 'tasks kept'],
    ['Failed', total(queue => queue.failed), 'tasks kept'],
  ];
  const isPaused = queues.some(queue => queue.paused);
  const state = isPaused
    ? html`${badge('paused', 'paused')} No attempt is begun on any host.${action('/api/resume', 'Resume')}`
    : html`${stateOf(workers.length, cooldowns.length)}${action('/api/pause', 'Pause', {
        confirm: 'Pause the pool? No worker begins another attempt; running ones go on.',
      })}`;
  return html`<dl class="tiles">${figures.map(
    ([name, figure, more]) => html`<div><dt>${name}</dt><dd><b>${figure}</b> <span>${more}</span></dd></div>`,
  )}</dl>
<div class="switch">${state}</div>`;
}

function stateOf(workers: number, cooldowns: number): Html {
  if (workers === 0) return html`${badge('failed', 'no worker')} Nobody takes tasks: start a worker.`;
  if (cooldowns === 0) return html`${badge('committed', 'at work')} Workers take tasks.`;
  return html`${badge('reverted', 'at work')} Workers take tasks; ${counted(cooldowns, 'provider')} in cool-down.`;
}

export function queuesPart({ queues, landings }: PoolFacts): Html {
  const told = isInUse(landings) ? [...queues, landings.queue] : queues;
  const columns = ['Queue', 'State', 'Waiting', 'Running', 'Delayed', 'Completed', 'Failed'];
  return table(
    'Depth of the queues',
    columns.map((name, index) => ({ name, isFigure: index > 1 })),
    told.map(({ name, paused, waiting, running, delayed, completed, failed }) => [
      html`<a href="/queues/queue/${encodeURIComponent(name)}">${name}</a>`,
      paused ? badge('paused', 'paused') : badge('committed', 'open'),
      ...[waiting, running, delayed, completed, failed].map(whole),
    ]),
  );
}

export function cooldownsPart({ cooldowns }: PoolFacts, now: Now): Html {
  if (cooldowns.length === 0) return nothing('None.');
  return table(
    'Providers that are left alone for a while',
    ['Provider', 'Why', 'Asked again', 'Reason'].map(name => ({ name })),
    cooldowns.map(({ name, kind, reason, until }) => [
      name,
      badge(kind === 'refused' ? 'failed' : 'reverted', kind),
      comingMoment(until, now),
      reason,
    ]),
  );
}

export function workersPart({ workers }: PoolFacts, now: Now): Html {
  if (workers.length === 0) return nothing('No worker has given a sign of life in the last 30 seconds.');
  return table(
    'Workers that are alive',
    ['Host', 'Process', 'Since', 'Cells', 'State'].map(name => ({ name, isFigure: name === 'Cells' })),
    workers.map(({ host, pid, startedAt, running, concurrency, draining }) => [
      host,
      `pid ${pid}`,
      pastMoment(startedAt, now),
      `${running} of ${concurrency}`,
      draining ? badge('reverted', 'draining') : badge('committed', 'taking tasks'),
    ]),
  );
}

export function latestPart({ latest }: PoolFacts, now: Now): Html {
  if (latest.length === 0) return nothing('No task has ended yet.');
  const columns = ['Task', 'Outcome', 'Ended', 'Attempt', 'Tests', 'Files', 'Tokens', 'Cost', 'Time', 'Kept', 'Do'];
  const figures = new Set(['Attempt', 'Files', 'Tokens', 'Cost', 'Time']);
  return table(
    'Tasks that ended last',
    columns.map(name => ({ name, isFigure: figures.has(name) })),
    latest.map(ended => latestRow(ended, now)),
    latest.map(({ taskId, endedAt }) => `${taskId} ${endedAt}`),
  );
}

function latestRow(ended: EndedFacts, now: Now) {
  const { taskId, failed, result } = ended;
  const retry =
    failed && taskIdFault(taskId) === null && retryAction(taskId, 'Retry', `Retry ${taskId} with all its attempts?`);
  if (result === null) {
    const state = failed ? badge('failed', 'failed') : badge('committed', 'completed');
    return [taskName(ended), state, pastMoment(ended.endedAt, now), ...Array.from({ length: 7 }, () => '–'), retry];
  }
  return [
    taskName(ended),
    outcomeBadge(result.outcome),
    pastMoment(ended.endedAt, now),
    result.attempt,
    testsInWords(result),
    result.filesModified.length,
    short(result.tokensUsed),
    result.costUsd === undefined ? '–' : dollars(result.costUsd),
    duration(result.metrics.totalMs),
    result.artifacts === '' ? '–' : keptLinks(taskId, result),
    retry,
  ];
}

function keptLinks(taskId: string, { filesModified, tests }: AttemptResult): Html {
  const link = (anchor: string, text: string) =>
    html`<a href="${taskPath(taskId)}#${anchor}" aria-label="${text} of ${taskId}">${text}</a>`;
  return html`<span class="links">${link('transcript', 'transcript')}
${filesModified.length > 0 && link('diff', 'diff')} ${tests !== null && link('test-log', 'test log')}</span>`;
}
