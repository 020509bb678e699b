/**
 * The transcript of a session as people read it. The file is what an opencode server said of an agent's session, cut
 * short perhaps, and of a version that we may not know; whatever is in it, a bounded list of entries comes out.
 */
import { z } from 'zod';
import { messageOf } from '../../errors.ts';

export type EntryKind = 'prompt' | 'answer' | 'thinking' | 'call' | 'error' | 'note';

export interface TranscriptEntry {
  kind: EntryKind;
  /** One line. */
  title: string;
  /** What was said or printed, as it was; hostile until it is rendered. */
  text: string;
}

export interface Transcript {
  sessionId: string | null;
  /** `provider/model`; null when the worker's own default was used. */
  model: string | null;
  entries: TranscriptEntry[];
}

/** Characters of one entry, and of all together once there are many. */
const TEXT_MAX = 20_000;
const ALL_MAX = 4_000_000;
/** Of each entry that comes after that. */
const SHORT = 200;
/** Entries from the beginning and from the end; of what lies between it is only told how much it is. */
const FIRST = 500;
const LAST = 1_500;

const words = z.string().catch('');
const object = z.record(z.string(), z.unknown()).catch({});
const transcriptSchema = z.object({
  sessionId: z.string().nullable().catch(null),
  model: z.string().nullable().catch(null),
  messages: z.array(z.unknown()).nullable().catch(null),
});
const messageSchema = z.object({
  info: z.object({ role: words, error: z.unknown().optional() }).catch({ role: '', error: undefined }),
  parts: z.array(z.unknown()).catch([]),
});
const errorSchema = z.object({
  name: words,
  message: words,
  data: z.object({ message: words }).catch({ message: '' }),
});
const partSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text: words, synthetic: z.boolean().catch(false) }),
  z.object({ type: z.literal('reasoning'), text: words }),
  z.object({
    type: z.literal('tool'),
    tool: words,
    state: z.object({
      status: words,
      input: object,
      output: words,
      error: words,
      time: z.object({ start: z.number(), end: z.number() }).nullable().catch(null),
    }),
  }),
  z.object({ type: z.literal('file'), mime: words, filename: words }),
  z.object({ type: z.literal('retry'), error: z.unknown().optional() }),
  z.object({ type: z.literal('subtask'), prompt: words, description: words }),
  z.object({ type: z.literal('compaction') }),
]);
type Part = z.infer<typeof partSchema>;

/** Never throws. */
export function readTranscript(json: string): Transcript {
  try {
    const { sessionId, model, messages } = transcriptSchema.parse(JSON.parse(json));
    if (messages === null) {
      return { sessionId, model, entries: [note('The server did not hand out what was said', '')] };
    }
    return { sessionId, model, entries: bounded(messages.flatMap(entriesOf)) };
  } catch (error) {
    // Cut short, no JSON at all, or nested deeper than anything can be read.
    const why = messageOf(error).slice(0, SHORT);
    return { sessionId: null, model: null, entries: [note('The transcript cannot be read', why)] };
  }
}

function entriesOf(message: unknown): TranscriptEntry[] {
  const { data } = messageSchema.safeParse(message);
  if (data === undefined) return [];
  const isPrompt = data.info.role === 'user';
  const entries = data.parts.flatMap((part): TranscriptEntry[] => {
    // Steps, snapshots and whatever else a later version tells of are nothing to read.
    const known = partSchema.safeParse(part).data;
    try {
      const entry = known === undefined ? null : entryOf(known, isPrompt);
      return entry === null ? [] : [entry];
    } catch (error) {
      // Nested so deep that it cannot be written out.
      return [note('An entry cannot be read', messageOf(error).slice(0, SHORT))];
    }
  });
  return data.info.error == null ? entries : [...entries, errorEntry(data.info.error)];
}

function entryOf(part: Part, isPrompt: boolean): TranscriptEntry | null {
  switch (part.type) {
    case 'text':
      if (part.text.trim() === '') return null;
      if (part.synthetic) return note('Added by opencode', part.text);
      return { kind: isPrompt ? 'prompt' : 'answer', title: isPrompt ? 'Prompt' : 'Answer', text: part.text };
    case 'reasoning':
      return part.text.trim() === '' ? null : { kind: 'thinking', title: 'Thinking', text: part.text };
    case 'tool':
      return callEntry(part);
    case 'file':
      return note('File', [part.filename, part.mime].filter(text => text !== '').join(', '));
    case 'retry':
      return note('The provider was asked again', errorEntry(part.error).text);
    case 'subtask':
      return note(`Subtask: ${part.description}`, part.prompt);
    case 'compaction':
      return note('The session was summed up, to make room', '');
  }
}

function note(title: string, text: string): TranscriptEntry {
  return { kind: 'note', title, text };
}

function errorEntry(error: unknown): TranscriptEntry {
  const { data } = errorSchema.safeParse(error);
  const said = data?.data.message || data?.message || '';
  return { kind: 'error', title: data?.name || 'Error', text: said };
}

function callEntry({ tool, state }: Extract<Part, { type: 'tool' }>): TranscriptEntry {
  const { status, input, output, error, time } = state;
  const ended = status === 'completed' ? '' : status === 'error' ? ', failed' : ', not ended';
  const took = time === null ? '' : ` (${Math.max(0, Math.round(time.end - time.start))} ms)`;
  const given = Object.entries(input).flatMap(([key, value]) => (key === 'description' ? [] : inputLines(key, value)));
  const got = status === 'error' ? error : output;
  const text = [...given, ...(got === '' ? [] : ['', got])].join('\n');
  return { kind: 'call', title: `${callInWords(tool, input)}${took}${ended}`, text };
}

/** What best tells one call from another, of the tools that opencode offers. */
const TELLING = ['command', 'filePath', 'path', 'pattern', 'url', 'query', 'description'] as const;
const WORDS_MAX = 120;
/** What stands before the names of files in a cell's workspace; it is the same in the whole transcript. */
const WORKSPACE = /^\/.*\/cells\/[^/]+\/workspace\//;

function callInWords(tool: string, input: Readonly<Record<string, unknown>>): string {
  const told = TELLING.map(key => input[key]).find(value => typeof value === 'string');
  if (told === undefined) return tool;
  const line = told.replace(WORKSPACE, '').replace(/\s+/g, ' ').trim();
  return `${tool} ${JSON.stringify(line.length > WORDS_MAX ? `${line.slice(0, WORDS_MAX - 1)}…` : line)}`;
}

/** How an edit is read best: what goes, and what comes. */
const MARKS: Readonly<Record<string, string>> = { oldString: '- ', newString: '+ ', command: '$ ' };

function inputLines(key: string, value: unknown): string[] {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  const mark = Object.hasOwn(MARKS, key) ? MARKS[key] : undefined;
  if (mark !== undefined) return text.split('\n').map(line => `${mark}${line}`);
  return text.includes('\n') ? [`${key}:`, ...text.split('\n').map(line => `  ${line}`)] : [`${key}: ${text}`];
}

function bounded(entries: readonly TranscriptEntry[]): TranscriptEntry[] {
  const left = entries.length - FIRST - LAST;
  const kept =
    left <= 0
      ? entries
      : [...entries.slice(0, FIRST), note(`${left} entries are left out here`, ''), ...entries.slice(-LAST)];
  let room = ALL_MAX;
  return kept.map(({ kind, title, text }) => {
    const shown = cut(text, Math.max(SHORT, Math.min(TEXT_MAX, room)));
    room -= shown.length;
    return { kind, title: title.replace(/\s+/g, ' ').slice(0, SHORT), text: shown };
  });
}

/** The beginning, and the end, where a command says how it went. */
function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = Math.floor(most / 4);
  const left = text.length - most;
  return `${text.slice(0, most - end)}\n… ${left} characters are left out here …\n${text.slice(-end)}`;
}
