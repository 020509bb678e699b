/** Finished branches on their way onto their targets, and what became of them. */
import type { LandingFacts, LandingState, PoolFacts, TaskDetail } from '../view/facts.ts';
import { heldTargets, isInUse } from '../view/landing-facts.ts';
import { heldInWords, landingInWords, whyInWords } from '../view/landing-words.ts';
import { type Now, pastMoment, whole } from './figures.ts';
import { type Html, html } from './html.ts';
import { badge, nothing, repositoryName, table, taskName } from './words.ts';

/** Told by their colour beside their name. */
const BADGES = {
  waiting: 'open',
  trying: 'execute',
  landed: 'committed',
  returned: 'reverted',
  refused: 'failed',
  unknown: 'failed',
} as const satisfies Record<LandingState, string>;

function stateOf(state: LandingState): Html {
  return badge(BADGES[state], state);
}

/** A section of the live page with its title, or nothing at all: many pools land nothing. */
export function landingSection({ landings }: PoolFacts, now: Now): Html {
  if (!isInUse(landings)) return html``;
  const { queue, targets, underWay, ended } = landings;
  const inLine = queue.waiting + queue.delayed;
  const held = heldTargets(targets).flatMap(target => heldInWords(target) ?? []);
  return html`<section aria-labelledby="landing-title"><h2 id="landing-title">Landing</h2>
<p>Finished branches: ${whole(inLine)} in line, ${whole(queue.running)} being tried.${queue.paused && html` ${badge('paused', 'paused')}`}</p>
${held.map(text => html`<p class="notice trouble">${text}</p>`)}
${underWay.length > 0 && underWayTable(underWay, now)}
${ended.length === 0 ? nothing('None has come to an end yet.') : endedTable(ended, now)}</section>`;
}

function underWayTable(landings: readonly LandingFacts[], now: Now): Html {
  return table(
    'Branches that are to land, the first of them',
    ['Task', 'State', 'Target', 'In line since', 'Held'].map(name => ({ name })),
    landings.map(one => [
      taskName(one),
      stateOf(one.state),
      targetName(one),
      pastMoment(one.queuedAt, now),
      one.fault ?? one.held?.reason ?? '–',
    ]),
    landings.map(({ landingId }) => landingId),
  );
}

function endedTable(landings: readonly LandingFacts[], now: Now): Html {
  return table(
    'Landings that ended last',
    ['Task', 'Fate', 'Ended', 'Target', 'Commit', 'Why'].map(name => ({ name })),
    landings.map(one => [
      taskName(one),
      stateOf(one.state),
      one.endedAt === null ? '–' : pastMoment(one.endedAt, now),
      targetName(one),
      one.fate?.commit == null ? '–' : html`<code>${one.fate.commit.slice(0, 10)}</code>`,
      one.fault ?? (whyInWords(one) || '–'),
    ]),
    landings.map(({ landingId }) => landingId),
  );
}

function targetName({ target, repository, fault }: LandingFacts): Html | string {
  return fault !== null ? '–' : html`${target} <span class="title">of ${repositoryName(repository)}</span>`;
}

/** Of a task whose branch was to land: what became of the commit, with all that was said about it. */
export function landingOfTask({ landings }: Pick<TaskDetail, 'landings'>, now: Now): Html | null {
  const last = landings.at(-1);
  if (last === undefined) return null;
  const { state, endedAt, fate } = last;
  const message = fate !== null && fate.kind !== 'landed' ? fate.message : '';
  return html`<p>Landing: ${stateOf(state)} It ${landingInWords(last)}${endedAt !== null && html`, ${pastMoment(endedAt, now)}`}.</p>
${message !== '' && html`<pre class="error" tabindex="0" aria-label="Why it did not land">${message}</pre>`}`;
}
