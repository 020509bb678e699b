/**
 * The folder in which Beads keeps its issues. A repository may track it, and whatever lies in one, at any depth, is
 * never part of the work: the pool writes to a tracker by its program, and an agent not at all.
 */

import { type GitPath, pathText } from './commands.ts';

/** Ignoring case, since on some systems the name finds the folder in any: there a long s is an s, too. */
const TRACKER = /(^|\/)\.beads(\/|$)/iu;

/** Whether a path is that of such a folder, of what stands in its place, or of something in it. */
export function isTrackers(path: GitPath): boolean {
  return TRACKER.test(pathText(path));
}

/** Pathspecs that keep git from looking into them. */
export const NOT_TRACKERS: readonly string[] = [
  ':(top,exclude,icase,glob)**/.beads',
  ':(top,exclude,icase,glob)**/.beads/**',
];
