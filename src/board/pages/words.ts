/** Links, badges and tables that several pages have. */
import { taskIdFault } from '../../job/names.ts';
import type { AttemptResult, Outcome } from '../../job/outcome.ts';
import { type Html, type HtmlPart, html } from './html.ts';

export function taskPath(taskId: string): string {
  return `/tasks/${encodeURIComponent(taskId)}`;
}

/** The task by its id and title; a link where there is a page of it. */
export function taskName({ taskId, title }: { taskId: string; title: string | null }): Html {
  const id = taskIdFault(taskId) === null ? html`<a href="${taskPath(taskId)}">${taskId}</a>` : html`${taskId}`;
  return html`<span class="task">${id}</span>${title !== null && html` <span class="title">${title}</span>`}`;
}

export function outcomeBadge(outcome: Outcome | null): Html {
  return outcome === null ? html`<span class="none">–</span>` : badge(outcome, outcome);
}

export function badge(kind: string, text: string): Html {
  return html`<span class="badge ${kind}">${text}</span>`;
}

/** What the tests said, in a word or two. */
export function testsInWords({ outcome, tests }: AttemptResult): string {
  if (tests !== null) return tests.passed ? 'passed' : `failed (${tests.exitCode ?? 'killed'})`;
  return outcome === 'committed' ? 'untested' : '–';
}

/** The last part of a repository's path. */
export function repositoryName(repository: string): string {
  const parts = repository.split('/').filter(part => part !== '' && part !== '.git');
  return parts.at(-1)?.replace(/\.git$/, '') ?? repository;
}

export interface Column {
  name: string;
  /** Figures stand to the right. */
  isFigure?: boolean;
}

/**
 * A table that becomes a list of cards where there is little room. The first cell of each row is its header. Roles are
 * given because some browsers forget them when a table is laid out otherwise. `keys` tell the browser which row is which
 * when others come and go.
 */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly HtmlPart[])[],
  keys: readonly string[] = [],
): Html {
  const head = columns.map(
    ({ name, isFigure }) => html`<th scope="col" role="columnheader"${isFigure && html` class="figure"`}>${name}</th>`,
  );
  const body = rows.map((cells, row) => {
    const key = keys[row];
    const all = columns.map((column, at) => cellOf(column, at, cells[at]));
    return html`<tr role="row"${key !== undefined && html` data-key="${key}"`}>${all}</tr>`;
  });
  return html`<div class="table"><table role="table"><caption>${caption}</caption>
<thead role="rowgroup"><tr role="row">${head}</tr></thead>
<tbody role="rowgroup">${body}</tbody></table></div>`;
}

function cellOf({ name, isFigure }: Column, at: number, content: HtmlPart): Html {
  if (at === 0) return html`<th scope="row" role="rowheader">${content}</th>`;
  return html`<td role="cell" data-name="${name}"${isFigure && html` class="figure"`}>${content}</td>`;
}

export function nothing(text: string): Html {
  return html`<p class="nothing">${text}</p>`;
}
