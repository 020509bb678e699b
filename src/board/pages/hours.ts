/** How many attempts came to which outcome, hour by hour: bars to be seen, and the same as a table. */
import { OUTCOMES, type Outcome } from '../../job/outcome.ts';
import type { HourFacts, PoolFacts } from '../view/facts.ts';
import { counted, dollars, short, whole } from './figures.ts';
import { type Html, html } from './html.ts';
import { nothing, table } from './words.ts';

/** In units of the picture, which is stretched to the page's width. */
const PICTURE = { width: 720, height: 130, top: 14, bottom: 18 } as const;

export function hoursPart({ hours }: PoolFacts): Html {
  const seen = OUTCOMES.filter(outcome => hours.some(hour => (hour.outcomes[outcome] ?? 0) > 0));
  if (seen.length === 0) return nothing('No attempt has ended in these hours.');
  const attempts = sum(hours.map(attemptsIn));
  const tokens = sum(hours.map(hour => hour.tokens));
  const said = `${counted(attempts, 'attempt')}, ${short(tokens)} tokens, ${dollars(sum(hours.map(hour => hour.costUsd)))}`;
  return html`<p>${said}</p>
${picture(hours, seen)}
<ul class="legend">${seen.map(
    outcome => html`<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="${outcome}" width="10" height="10" rx="2"/></svg> ${outcome}
<b>${whole(sum(hours.map(hour => hour.outcomes[outcome] ?? 0)))}</b></li>`,
  )}</ul>
<details><summary>The same as a table</summary>${asTable(hours, seen)}</details>`;
}

function picture(hours: readonly HourFacts[], seen: readonly Outcome[]): Html {
  const { width, height, top, bottom } = PICTURE;
  const most = Math.max(1, ...hours.map(attemptsIn));
  const step = width / hours.length;
  const scale = (height - top - bottom) / most;
  const bars = hours.map((hour, index) => {
    const x = round(index * step + 1);
    let y = height - bottom;
    const blocks = seen.map(outcome => {
      const tall = (hour.outcomes[outcome] ?? 0) * scale;
      if (tall === 0) return null;
      y -= tall;
      return html`<rect class="${outcome}" x="${x}" y="${round(y)}" width="${round(step - 2)}" height="${round(tall)}"/>`;
    });
    const label = index % 4 === 0 && html`<text x="${x}" y="${height - 4}">${clock(hour.from)}</text>`;
    return html`<g><title>${inWords(hour, seen)}</title>${blocks}${label}</g>`;
  });
  const base = height - bottom;
  return html`<svg class="hours" viewBox="0 0 ${width} ${height}" role="img" aria-label="Attempts by hour and outcome; the table below has the figures">
<line x1="0" x2="${width}" y1="${top}" y2="${top}"/><line x1="0" x2="${width}" y1="${base}" y2="${base}"/>
<text x="0" y="${top - 4}">${most}</text>${bars}</svg>`;
}

function asTable(hours: readonly HourFacts[], seen: readonly Outcome[]): Html {
  const columns = ['Hour (UTC)', ...seen, 'Tokens', 'Cost'].map((name, index) => ({ name, isFigure: index > 0 }));
  const rows = hours
    .filter(hour => attemptsIn(hour) > 0)
    .reverse()
    .map(hour => [
      clock(hour.from),
      ...seen.map(outcome => whole(hour.outcomes[outcome] ?? 0)),
      short(hour.tokens),
      dollars(hour.costUsd),
    ]);
  return table('Attempts by hour and outcome', columns, rows);
}

function attemptsIn({ outcomes }: HourFacts): number {
  return sum(Object.values(outcomes));
}

function inWords(hour: HourFacts, seen: readonly Outcome[]): string {
  const counts = seen.flatMap(outcome => {
    const count = hour.outcomes[outcome] ?? 0;
    return count === 0 ? [] : [`${count} ${outcome}`];
  });
  return `${clock(hour.from)} UTC: ${counts.length === 0 ? 'none' : counts.join(', ')}`;
}

function clock(at: number): string {
  return new Date(at).toISOString().slice(11, 16);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
