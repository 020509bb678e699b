/** The calls of tools that an agent makes, as the server tells of them. */
import type { ToolPart } from '@opencode-ai/sdk/v2/client';
import { quoted } from './quoted.ts';

/** What best tells one call from another, of the tools that opencode offers. */
const TELLING = ['command', 'filePath', 'path', 'pattern', 'url', 'query'] as const;
const WORDS_MAX = 120;

/** A call in a few words, without what looks like a key: `bash "npm test"`. */
export function callInWords({ tool, state: { input } }: Pick<ToolPart, 'tool' | 'state'>): string {
  const told = TELLING.map(key => input[key]).find(value => typeof value === 'string');
  const text = quoted(told ?? JSON.stringify(input));
  return `${quoted(tool)} ${JSON.stringify(text.length > WORDS_MAX ? `${text.slice(0, WORDS_MAX - 1)}…` : text)}`;
}
