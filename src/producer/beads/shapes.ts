/**
 * What `bd` prints, as values. Its JSON has changed its shape over the years, and what is not JSON has changed more:
 *
 * - a list, or a single object where one was asked for; bare, or under `data` beside `schema_version`; `null` for none
 * - `warning:` lines before it, and hints behind it
 * - plain text instead of an empty list
 * - a refusal as `{error, hint?}` on either output, or as plain text on stderr
 *
 * Statuses, types and labels are the tracker's own words: any text is one.
 */
import { z } from 'zod';
import { isRecord } from '../../config.ts';

const words = z
  .string()
  .nullish()
  .transform(value => value ?? '');
/** What only people and models read may be missing, or be of another kind. */
const mildWords = words.catch('');

const relationSchema = z
  .object({
    id: mildWords,
    depends_on_id: mildWords,
    title: mildWords,
    status: mildWords,
    close_reason: mildWords,
    dependency_type: mildWords,
    type: mildWords,
  })
  .transform(one => ({
    id: one.depends_on_id || one.id,
    title: one.title,
    status: one.status,
    closeReason: one.close_reason,
    kind: one.dependency_type || one.type,
  }));

/** Not every version says of an issue whether it is blocked; of what it waits for, `show` tells kind and status. */
function isOpenBlocker({ kind, status }: z.output<typeof relationSchema>): boolean {
  return kind === 'blocks' && status !== '' && status !== 'closed';
}

const commentSchema = z
  .object({ author: mildWords, text: words, created_at: mildWords })
  .transform(({ author, text, created_at }) => ({ author, text, createdAt: created_at }));

/** An issue, with what of it is used. Keys that decide something are strict: a wrong guess would be worked on. */
const issueSchema = z
  .object({
    id: z.string().min(1),
    title: words,
    status: words,
    assignee: words,
    labels: z
      .array(z.string())
      .nullish()
      .transform(value => value ?? []),
    priority: z.int().nullish().catch(null),
    issue_type: mildWords,
    description: words,
    acceptance_criteria: words,
    design: words,
    notes: words,
    close_reason: mildWords,
    parent: mildWords,
    is_blocked: z.boolean().nullish().catch(null),
    dependencies: z.array(relationSchema).nullish().catch(null),
    comments: z.array(commentSchema).nullish().catch(null),
    comment_count: z.int().nullish().catch(null),
  })
  .transform(issue => ({
    id: issue.id,
    title: issue.title,
    status: issue.status,
    assignee: issue.assignee,
    labels: issue.labels,
    priority: issue.priority ?? null,
    type: issue.issue_type,
    description: issue.description,
    acceptance: issue.acceptance_criteria,
    design: issue.design,
    notes: issue.notes,
    closeReason: issue.close_reason,
    parent: issue.parent,
    isBlocked: issue.is_blocked ?? (issue.dependencies ?? []).some(isOpenBlocker),
    relations: issue.dependencies ?? [],
    /** null when bd does not say. */
    commentCount: issue.comments?.length ?? issue.comment_count ?? null,
  }));

export type Issue = z.output<typeof issueSchema>;
export type Relation = Issue['relations'][number];
export type BeadComment = z.output<typeof commentSchema>;

/** `bd context`: which tracker it is. */
export const contextSchema = z.object({
  beads_dir: z.string().min(1),
  project_id: z
    .string()
    .regex(/^[\w.-]{8,100}$/)
    .nullish()
    .catch(null),
});

export interface Printed {
  stdout: string;
  stderr: string;
  exitCode: number;
}

/** `value` is undefined when it printed no JSON, and had nothing to say against it either. */
export type Answer = { ok: true; value: unknown } | { ok: false; said: string; exitCode: number };

/** Lines that may begin the JSON; a program that prints more of them before it is none that we know. */
const STARTS_MOST = 50;
const SAID_MOST = 2_000;

/** Whether the call was taken, and what it gave. */
export function readAnswer({ stdout, stderr, exitCode }: Printed): Answer {
  const printed = valueIn(stdout);
  const complaint = valueIn(stderr);
  const fault = faultIn(printed) ?? faultIn(complaint);
  const plain = [printed === undefined ? stdout : '', complaint === undefined ? stderr : ''];
  const said = [...plain.map(text => text.trim()), fault ?? ''].filter(text => text !== '').join('\n');
  if (exitCode !== 0 || fault !== null) return { ok: false, said: said.slice(0, SAID_MOST), exitCode };
  if (printed === undefined && stdout.trim() === '' && stderr.trim() !== '') {
    return { ok: false, said: said.slice(0, SAID_MOST), exitCode };
  }
  return { ok: true, value: unwrapped(printed) };
}

/** The issues in an answer; null when it is none of issues. `text` is what was printed, where it is no JSON. */
export function issuesIn(value: unknown, text: string): Issue[] | null {
  const parsed = z.array(issueSchema).safeParse(listIn(value, text));
  return parsed.success ? parsed.data : null;
}

/** As `issuesIn`, for comments. */
export function commentsIn(value: unknown, text: string): BeadComment[] | null {
  const parsed = z.array(commentSchema).safeParse(listIn(value, text));
  return parsed.success ? parsed.data : null;
}

/** "No issues found." and its like: there is none. */
const NONE = /^[^\p{L}]*no (?:\p{L}+ )?(?:issues?|work|comments?)\b/iu;

function listIn(value: unknown, text: string): unknown {
  if (value === null) return [];
  if (value === undefined) return NONE.test(text.trimStart()) ? [] : undefined;
  return Array.isArray(value) ? value : [value];
}

function unwrapped(value: unknown): unknown {
  return isRecord(value) && 'schema_version' in value && 'data' in value ? value.data : value;
}

/** What an error in JSON says, with its hint; null when the value is none. */
function faultIn(printed: unknown): string | null {
  const value = unwrapped(printed);
  if (!isRecord(value) || typeof value.error !== 'string' || 'id' in value) return null;
  const failed = Array.isArray(value.failed) ? value.failed : [];
  const each = failed.flatMap(one => (isRecord(one) && typeof one.error === 'string' ? [one.error] : []));
  const hint = typeof value.hint === 'string' ? [value.hint] : [];
  return [value.error, ...each, ...hint].join('\n');
}

/** The JSON in a text that may hold other lines before and behind it; undefined when there is none. */
function valueIn(text: string): unknown {
  const starts = [...text.matchAll(/^[ \t]*(?=[[{]|null\s*$)/gm)].slice(0, STARTS_MOST);
  for (const { index } of starts) {
    const found = parsed(text.slice(index)) ?? parsed(text.slice(index, lastLineWithEnd(text)));
    if (found !== undefined) return found.value;
  }
  return undefined;
}

/** Where the last line ends that closes a list or an object at its beginning, or is one. */
function lastLineWithEnd(text: string): number {
  const ends = [...text.matchAll(/^(?:[\]}]|[[{].*[\]}]|null)[ \t\r]*$/gm)];
  const last = ends.at(-1);
  return last === undefined ? 0 : last.index + last[0].length;
}

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    // Not JSON: the caller looks further, and says what was printed when there is none.
    return undefined;
  }
}
