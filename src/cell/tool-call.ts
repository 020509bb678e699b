/** The calls of tools that an agent makes, as the server tells of them. */
import type { ToolPart } from '@opencode-ai/sdk/v2/client';
import { quoted } from './quoted.ts';

export type ToolInput = Readonly<Record<string, unknown>>;

export interface EndedCall {
  /** Of the part that tells of it: the ids that models give to calls need not be unique. */
  id: string;
  sessionId: string;
  tool: string;
  /** Without the words that describe the call to people. */
  input: ToolInput;
  result: string;
  failed: boolean;
}

/** The call when it has ended; null while it is under way. */
export function endedCall({ id, sessionID, tool, state }: ToolPart): EndedCall | null {
  if (state.status !== 'completed' && state.status !== 'error') return null;
  const { description: _, ...input } = state.input;
  const failed = state.status === 'error';
  return { id, sessionId: sessionID, tool, input, result: failed ? state.error : state.output, failed };
}

/** What best tells one call from another, of the tools that opencode offers. */
const TELLING = ['command', 'filePath', 'path', 'pattern', 'url', 'query'] as const;
const WORDS_MAX = 120;

/** A call in a few words, without what looks like a key: `bash "npm test"`. */
export function callInWords({ tool, input }: { tool: string; input: ToolInput }): string {
  const told = TELLING.map(key => input[key]).find(value => typeof value === 'string');
  const text = quoted(told ?? JSON.stringify(input));
  return `${quoted(tool)} ${JSON.stringify(text.length > WORDS_MAX ? `${text.slice(0, WORDS_MAX - 1)}…` : text)}`;
}

const CHANGING = new Set(['edit', 'write', 'multiedit', 'apply_patch', 'patch']);

/** The file, or the files, that a call of one of opencode's own tools changes; null when it changes none. */
export function changedFileOf({ tool, input }: { tool: string; input: ToolInput }): string | null {
  if (!CHANGING.has(tool)) return null;
  const path = input.filePath ?? input.path;
  if (typeof path === 'string') return path;
  const patch = input.patchText ?? input.patch;
  if (typeof patch !== 'string') return null;
  const named = [...patch.matchAll(/^\*\*\* (?:Add|Update|Delete) File: (.+)$/gm)].map(match => match[1]?.trim());
  return named.length === 0 ? null : named.join('\n');
}
