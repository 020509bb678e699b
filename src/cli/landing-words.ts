/** What people are told of finished branches on their way to their targets. */
import { checkedOutAt, type Source } from '../git/source.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { Task } from '../job/task.ts';
import type { LandingNews } from '../producer/follow-landing.ts';
import { printable, reason, shorten } from './words.ts';

/** Characters of the paths that are in conflict. */
const PATHS_WIDTH = 160;

/** The end of a sentence that begins with the task's id. */
export function newsInWords(news: LandingNews): string {
  const target = printable(news.target);
  if (news.kind === 'waits') return `waits for landing on ${target}`;
  if (news.why === 'red') return `came back: with what ${target} holds by now its tests fail`;
  const paths = news.message.trim().split('\n').join(', ');
  return `came back: conflicts with ${target} in ${shorten(paths, PATHS_WIDTH)}`;
}

/** The same of a task that has its outcome; empty when it was not to land. */
export function landingInWords({ landing }: Pick<AttemptResult, 'landing'>): string {
  if (landing === undefined) return '';
  const target = printable(landing.target);
  if (landing.state === 'landed') return `landed on ${target} as ${printable(landing.commit ?? '').slice(0, 10)}`;
  const how = landing.state === 'waiting' ? `has not landed on ${target} yet` : `did not land on ${target}`;
  return `${how}: ${reason(landing.message)}`;
}

/** A line for each target on which nothing will land, as somebody works on it here. */
export async function checkedOutTargets(source: Source, tasks: readonly Task[]): Promise<string[]> {
  const targets = new Set(tasks.flatMap(({ land, landOn, base }) => (land === 'merge' ? [landOn ?? base] : [])));
  const lines: string[] = [];
  for (const target of targets) {
    const folder = await checkedOutAt(source, target);
    if (folder === null) continue;
    lines.push(
      `${target} is checked out in ${folder}: nothing lands on it until that working copy is on another branch ` +
        '(git switch --detach). Or use --land-on, or --land push.',
    );
  }
  return lines;
}
