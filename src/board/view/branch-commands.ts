/** What to type to see the branch of a task, and to take it. */
import { isUrl } from '../../job/repository.ts';
import type { LandingFacts } from './facts.ts';

export interface BranchCommands {
  /** To be typed first, in a clone of one's own; null where the branch is in the repository itself. */
  fetch: string | null;
  look: string;
  take: string;
}

/**
 * Whether it is a person's to take the branch; nobody's where it has landed, or may yet, or is being worked anew, or would
 * bring a secret with it.
 */
export function isForPeople(landing: LandingFacts | undefined): boolean {
  if (landing === undefined || landing.state === 'unknown') return true;
  if (landing.state === 'returned') return landing.isFruitless === true;
  return landing.state === 'refused' && landing.fate?.why !== 'secret';
}

export function branchCommands(
  { repository, base }: { repository: string; base: string },
  branch: string,
): BranchCommands {
  if (isUrl(repository)) {
    return {
      fetch: `git fetch ${shellWord(repository)} ${shellWord(branch)}`,
      look: `git diff ${shellWord(`${base}...FETCH_HEAD`)}`,
      take: 'git merge FETCH_HEAD',
    };
  }
  const git = `git -C ${shellWord(repository)}`;
  return {
    fetch: null,
    look: `${git} diff ${shellWord(`${base}...${branch}`)}`,
    take: `${git} merge ${shellWord(branch)}`,
  };
}

/** One argument of a shell's command line. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
