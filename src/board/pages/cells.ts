/** The cells at work, by host. */
import { taskIdFault } from '../../job/names.ts';
import { LANDING } from '../../redis/cell-record.ts';
import type { CellFacts, PoolFacts } from '../view/facts.ts';
import { counted, elapsedSince, type Now, short, size } from './figures.ts';
import { type Html, html } from './html.ts';
import { cancelAction } from './layout.ts';
import { badge, type Column, nothing, repositoryName, table, taskName } from './words.ts';

const COLUMNS: readonly Column[] = [
  { name: 'Task' },
  { name: 'Stage' },
  { name: 'Attempt', isFigure: true },
  { name: 'Elapsed', isFigure: true },
  { name: 'Tokens', isFigure: true },
  { name: 'Memory', isFigure: true },
  { name: 'Port', isFigure: true },
  { name: 'Do' },
];

/** Workers give a sign every few seconds. */
const SILENT_MS = 30_000;

export function cellsPart({ cells, at }: PoolFacts, now: Now): Html {
  if (cells.length === 0) return nothing('No cell is at work.');
  const hosts = new Map<string, CellFacts[]>();
  for (const cell of cells) hosts.set(cell.host, [...(hosts.get(cell.host) ?? []), cell]);
  return html`${[...hosts].map(
    ([host, own]) => html`<h3>${host} <span class="count">${counted(own.length, 'cell')}</span></h3>
${table(
  `Cells on ${host}`,
  COLUMNS,
  own.map(cell => rowOf(cell, at, now)),
  own.map(({ cellId }) => cellId),
)}
`,
  )}`;
}

function rowOf(cell: CellFacts, at: number, now: Now) {
  return [
    html`${whoseIs(cell)}${troubleOf(cell, at)}`,
    badge(`stage ${cell.stage}`, cell.stage),
    cell.taskId === null ? '–' : cell.attempt,
    elapsedSince(cell.startedAt, now),
    tokensOf(cell),
    cell.memoryBytes === null ? '–' : size(cell.memoryBytes),
    cell.port ?? '–',
    // A record in Redis may name what is no task.
    cell.taskId !== null && taskIdFault(cell.taskId) === null && cancelAction(cell.taskId),
  ];
}

function whoseIs(cell: CellFacts): Html | string {
  if (cell.taskId !== null) return taskName({ ...cell, taskId: cell.taskId });
  if (cell.stage !== LANDING) return 'for the next task';
  return html`tests of what is to land in ${repositoryName(cell.repository)}`;
}

function troubleOf({ abandoned, lastSignAt }: CellFacts, at: number): Html | null {
  if (abandoned) return html` <span class="warning">could not be removed as a whole; the reaper will try</span>`;
  if (lastSignAt !== null && at - lastSignAt <= SILENT_MS) return null;
  return html` <span class="warning">no sign of its worker</span>`;
}

function tokensOf({ tokensUsed, tokenBudget }: CellFacts): Html {
  if (tokenBudget === null) return html`${short(tokensUsed)}`;
  const text = `${short(tokensUsed)} of ${short(tokenBudget)}`;
  return html`<span class="budget"><span>${text}</span>
<meter min="0" max="${tokenBudget}" high="${Math.floor(tokenBudget * 0.8)}" optimum="0" value="${Math.min(tokensUsed, tokenBudget)}" aria-hidden="true"></meter></span>`;
}
