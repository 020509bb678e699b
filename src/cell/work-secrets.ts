/**
 * Secrets in an agent's work. The patch among the artifacts and the commit stay as they are, for a patch that was
 * redacted does not apply and a commit must be what was tested; so whoever is to publish them has to be told.
 */
import { createReadStream } from 'node:fs';
import type { Redactor } from '../observe/redact.ts';

const LINE_FEED = 0x0a;
const PLUS = 0x2b;

/** Whether lines that a patch adds, or names of its files, hold a secret. What was there before counts for nothing. */
export async function addsSecret(patch: string, redactor: Redactor): Promise<boolean> {
  const stream = redactor.stream();
  const added = addedLines();
  for await (const chunk of createReadStream(patch)) {
    for (const part of added(chunk as Buffer)) stream.push(part);
    if (stream.found > 0) return true;
  }
  stream.end();
  return stream.found > 0;
}

/** A function that takes a patch in chunks and gives what of each is in lines that begin with a plus. */
function addedLines(): (chunk: Buffer) => Buffer[] {
  let atStart = true;
  let isAdded = false;
  return chunk => {
    const parts: Buffer[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (atStart) isAdded = chunk[at] === PLUS;
      const lineFeed = chunk.indexOf(LINE_FEED, at);
      const end = lineFeed < 0 ? chunk.length : lineFeed + 1;
      if (isAdded) parts.push(chunk.subarray(at, end));
      atStart = lineFeed >= 0;
      at = end;
    }
    return parts;
  };
}
