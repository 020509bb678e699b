/** Where an attempt's artifacts are when they cannot be read here, for people. */
import type { Located } from '../board/view/artifact-file.ts';

/** The end of a sentence; `artifacts` is the folder as it was recorded. */
export function absentInWords(located: Exclude<Located, { kind: 'here' }>, artifacts: string): string {
  if (located.kind === 'gone') return `nothing is left in ${artifacts}`;
  const where = located.host === null ? 'another state folder' : `host ${located.host}`;
  return `its artifacts are on ${where}, in ${artifacts}`;
}
