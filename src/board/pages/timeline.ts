/** The stages of an attempt as a line of time. */
import type { AttemptResult, Stage } from '../../job/outcome.ts';
import { duration } from './figures.ts';
import { type Html, html } from './html.ts';

/** From the beginning of the attempt, both in ms. `stage` is told in words where only the sum of two is known. */
export interface Span {
  stage: Stage;
  name: string;
  from: number;
  ms: number;
}

/** What is known of when: every stage, or of older results only the phases, put one after the other. */
export function spansOf({ stages, metrics }: Pick<AttemptResult, 'stages' | 'metrics'>): Span[] {
  if (stages !== undefined && stages.length > 0) {
    const start = stages.reduce((least, { startedAt }) => Math.min(least, startedAt), Number.POSITIVE_INFINITY);
    return stages.map(({ stage, startedAt, ms }) => ({
      stage,
      name: stage,
      from: startedAt - start,
      ms: Math.max(0, ms),
    }));
  }
  const { spawnMs, executionMs, teardownMs, totalMs } = metrics;
  const between = Math.max(0, totalMs - spawnMs - executionMs - teardownMs);
  const phases = [
    { stage: 'spawn', name: 'spawn', ms: spawnMs },
    { stage: 'execute', name: 'execute', ms: executionMs },
    { stage: 'test', name: 'test and settle', ms: between },
    { stage: 'teardown', name: 'teardown', ms: teardownMs },
  ] as const;
  let from = 0;
  return phases.map(phase => {
    const span = { ...phase, from };
    from += phase.ms;
    return span;
  });
}

const WIDTH = 1_000;
/** Of a stage that took next to nothing, so that it is seen at all. */
const WIDTH_MIN = 3;

/** `small`: without the legend, for a row of a table. Null when nothing is known to have taken any time. */
export function timeline(
  result: Pick<AttemptResult, 'stages' | 'metrics'>,
  kind: 'whole' | 'small' = 'whole',
): Html | null {
  const spans = spansOf(result);
  const end = Math.max(0, ...spans.map(({ from, ms }) => from + ms));
  if (!(end > 0) || !Number.isFinite(end)) return null;
  const bars = spans.map(({ stage, name, from, ms }) => {
    const x = Math.min(WIDTH - WIDTH_MIN, Math.round((from / end) * WIDTH));
    const width = Math.min(WIDTH - x, Math.max(WIDTH_MIN, Math.round((ms / end) * WIDTH)));
    return html`<rect class="${stage}" x="${x}" y="0" width="${width}" height="20"><title>${name}: ${duration(ms)}</title></rect>`;
  });
  const said = spans.map(({ name, ms }) => `${name} ${duration(ms)}`).join(', ');
  if (kind === 'small') {
    return html`<svg class="timeline" viewBox="0 0 ${WIDTH} 20" preserveAspectRatio="none" role="img" aria-label="${said}">${bars}</svg>`;
  }
  return html`<figure class="timeline"><svg viewBox="0 0 ${WIDTH} 20" preserveAspectRatio="none" aria-hidden="true">${bars}</svg>
<figcaption><ul class="legend">${spans.map(
    ({ stage, name, ms }) =>
      html`<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="${stage}" width="10" height="10" rx="2"/></svg> ${name} <b>${duration(ms)}</b></li>`,
  )}</ul></figcaption></figure>`;
}
