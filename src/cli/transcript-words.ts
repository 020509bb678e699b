/** A transcript as it is read in a terminal. */
import type { Transcript, TranscriptEntry } from '../board/view/transcript.ts';
import { printable, printableLines } from './words.ts';

export function transcriptInWords({ sessionId, model, entries }: Transcript): string {
  const head = [sessionId === null ? [] : `Session ${sessionId}`, model ?? []].flat().join(', ');
  return [...(head === '' ? [] : [printable(head)]), ...entries.map(entryInWords)].join('\n\n');
}

function entryInWords({ title, text }: TranscriptEntry): string {
  const shown = printableLines(text).trimEnd();
  const lines = shown === '' ? [] : shown.split('\n').map(line => `  ${line}`.trimEnd());
  return [`> ${printable(title)}`, ...lines].join('\n');
}
