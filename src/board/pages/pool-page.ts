/** The live page: the pool at one moment, in parts that are kept up to date. */
import type { PoolFacts } from '../view/facts.ts';
import { cellsPart } from './cells.ts';
import type { Now } from './figures.ts';
import { hoursPart } from './hours.ts';
import { type Html, html } from './html.ts';
import { landingSection } from './landings.ts';
import { page, part } from './layout.ts';
import { cooldownsPart, latestPart, queuesPart, summaryPart, workersPart } from './pool-parts.ts';

/** Hours that are told of, the present one included, tasks that ended last, and landings of either kind. */
export const POOL_OPTIONS = { hours: 24, latest: 25, landings: 10 } as const;

/** In the order of the page. */
const SECTIONS = [
  { id: 'cells', title: 'Cells', content: cellsPart },
  { id: 'latest', title: 'Latest outcomes', content: latestPart },
  { id: 'hours', title: `Last ${POOL_OPTIONS.hours} hours`, content: hoursPart },
  { id: 'queues', title: 'Queues', content: queuesPart },
  { id: 'cooldowns', title: 'Providers in cool-down', content: cooldownsPart },
  { id: 'workers', title: 'Workers', content: workersPart },
] as const;

/** Every part as HTML, by its id. The same facts give the same text, whenever it is made. */
export function poolParts(facts: PoolFacts, now: Now = null): Record<string, Html> {
  const sections = SECTIONS.map(({ id, content }) => [id, content(facts, now)]);
  return { summary: summaryPart(facts), landing: landingSection(facts, now), ...Object.fromEntries(sections) };
}

/** `facts` null: they are not to be had just now, and why stands in `away`. */
export function poolPage(facts: PoolFacts | null, now: number, away: string | null): string {
  const parts = facts === null ? {} : poolParts(facts, now);
  const sections = SECTIONS.map(
    ({ id, title }) => html`<section aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>
${part(id, parts[id])}</section>
${id === 'latest' && part('landing', parts.landing)}`,
  );
  const jumps = SECTIONS.map(({ id, title }) => html`<li><a href="#${id}-title">${title}</a></li>`);
  const content = html`<h1>Pool</h1>
${part('summary', parts.summary)}
<nav class="jumps" aria-label="On this page"><ul>${jumps}</ul></nav>
${sections}`;
  return page({ title: 'Pool', here: 'pool', content, now: facts?.at ?? now, events: '/events', away });
}
