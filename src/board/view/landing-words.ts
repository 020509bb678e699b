/** What is told of landings, in the same words on pages and in the terminal. All of it is hostile until it is rendered. */
import type { Fate } from '../../job/fate.ts';
import type { TargetNote } from '../../redis/landing-targets.ts';
import type { LandingFacts } from './facts.ts';

/** Task ids that are named of those that landed together. */
const BATCH_SHOWN = 5;

const WHY = {
  conflict: 'it conflicts with what is there',
  red: 'tests fail with it',
  superseded: 'its task was put on the queue anew',
  gone: 'its branch is not there any more, or was moved',
  secret: 'what it adds holds a secret',
  cancelled: 'a person has cancelled it',
  failed: 'it could not be tried',
} as const satisfies Record<NonNullable<Fate['why']>, string>;

const UNTOLD = 'nobody wrote down why';

/** How the landing stands, as one sentence that begins with a small letter and has no full stop. */
export function landingInWords(landing: LandingFacts): string {
  const { state, target, held, fate, fault, taskId } = landing;
  if (fault !== null) return `is no landing job of cellpool: ${fault}`;
  switch (state) {
    case 'waiting':
      return held === null ? `waits to land on ${target}` : `waits to land on ${target}, held: ${held.reason}`;
    case 'trying':
      return `is being tried on ${target}`;
    case 'landed': {
      const others = fate?.batch.filter(id => id !== taskId) ?? [];
      const flaky = fate?.flaky === true ? '; tests failed on the way and passed when they were run again' : '';
      return `landed on ${target}${fate?.commit == null ? '' : ` by ${fate.commit.slice(0, 10)}`}${withOthers(others)}${flaky}`;
    }
    case 'returned':
      return `could not land on ${target} and ${anewInWords(landing)}: ${whyInWords(landing) || UNTOLD}`;
    case 'refused':
      return `could not land on ${target} and stays on its branch: ${whyInWords(landing) || UNTOLD}`;
    case 'unknown':
      return `has come to an end that nobody wrote down: see whether ${target} has it`;
  }
}

function anewInWords({ isFruitless = false }: LandingFacts): string {
  return isFruitless ? 'was worked anew, without a result, so its branch stays' : 'is worked anew';
}

/** Without what was printed; empty for one that has landed or is under way. */
export function whyInWords({ fate }: LandingFacts): string {
  if (fate === null || fate.kind === 'landed') return '';
  return fate.why === undefined ? (fate.message.split('\n')[0] ?? '') : WHY[fate.why];
}

function withOthers(others: readonly string[]): string {
  if (others.length === 0) return '';
  const more = others.length - BATCH_SHOWN;
  return `, with ${others.slice(0, BATCH_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** Why nothing lands on a target for now; null when nothing is in the way. */
export function heldInWords({
  repository,
  target,
  held,
}: Pick<TargetNote, 'repository' | 'target' | 'held'>): string | null {
  if (held === null) return null;
  const until = held.forPerson ? ' It stays so until somebody sees to it.' : '';
  return `Nothing lands on ${target} of ${repository} for now: ${held.reason.replace(/\.$/, '')}.${until}`;
}
