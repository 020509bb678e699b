/**
 * The section in which cellpool says what became of a task, at the end of its file:
 *
 *     ## cellpool
 *
 *     - attempt 1 ended reverted: `2 tests failed` <!-- cellpool pool=k3x9 job=fix-login note=attempt:1 -->
 *
 * It begins with the heading and ends with the last line of that form; what a person writes below it is theirs.
 */
import { createHash } from 'node:crypto';
import { lineAt } from './front-matter.ts';

const HEADING = '## cellpool';
const OURS = /^- .*<!-- cellpool pool=\w+ job=\S+ note=\S+ -->\s*$/;

/** Ends a line of ours, and tells whether a note was written before. */
export function markOf(pool: string, { taskId, key }: { taskId: string; key: string }): string {
  const isPlain = /^[\w.:-]{1,120}$/.test(key) && !key.includes('--');
  return `<!-- cellpool pool=${pool} job=${taskId} note=${isPlain ? key : createHash('sha256').update(key).digest('hex')} -->`;
}

/** Whether a line of ours carries the mark, wherever it was moved. */
export function hasMark(body: string, mark: string): boolean {
  return body.split('\n').some(line => OURS.test(line) && line.trimEnd().endsWith(mark));
}

/** The body without what we have written. */
export function withoutSection(body: string): string {
  const section = sectionOf(body);
  return section === null ? body : body.slice(0, section.from) + body.slice(section.to);
}

/** The body with one more line, `- WHAT MARK`, in the section, which is begun where there is none. */
export function withLine(body: string, what: string, mark: string, eol: string): string {
  const line = `- ${what} ${mark}${eol}`;
  const section = sectionOf(body);
  if (section === null) return `${ended(body, eol)}${body === '' ? '' : eol}${HEADING}${eol}${eol}${line}`;
  return `${ended(body.slice(0, section.to), eol)}${line}${body.slice(section.to)}`;
}

const ended = (text: string, eol: string) => (text === '' || text.endsWith('\n') ? text : `${text}${eol}`);

/** Where the last such section begins and ends; null when there is none. */
function sectionOf(body: string): { from: number; to: number } | null {
  let found: { from: number; to: number } | null = null;
  let heading: number | null = null;
  for (let at = 0; at < body.length; ) {
    const line = lineAt(body, at);
    const end = at + line.length;
    if (line.trimEnd() === HEADING) heading = at;
    else if (heading !== null && OURS.test(line)) found = { from: heading, to: end };
    else if (line.trim() !== '') heading = null;
    at = end;
  }
  return found;
}
