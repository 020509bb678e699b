/** The text of a task file or of standard input: read in whole, up to a limit, and checked to be UTF-8. */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { messageOf } from '../errors.ts';
import type { FaultList } from './fault-list.ts';

/** 64 MiB: more is read from a device or is no list of tasks. */
export const INPUT_MAX_BYTES = 64 * 1024 * 1024;

/** The file's text without a byte order mark; what prevents reading it goes to `faults` and stops the reading. */
export async function readInput(path: string, faults: FaultList): Promise<string> {
  return decode(await readBytes(path, faults), faults);
}

async function readBytes(path: string, faults: FaultList): Promise<Buffer> {
  try {
    if (path === '-') return await collect(process.stdin, faults);
    // A pipe (`<(command)`) is welcome; a folder would give an error that names an operation, not the mistake.
    if ((await stat(path)).isDirectory()) return faults.stop(null, 'is a folder, not a file of tasks');
    return await collect(createReadStream(path), faults);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return faults.stop(null, reasonOf(error.code, error));
  }
}

async function collect(stream: Readable, faults: FaultList): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    size += bytes.length;
    if (size > INPUT_MAX_BYTES) faults.stop(null, `is larger than ${INPUT_MAX_BYTES / 1024 / 1024} MiB`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function reasonOf(code: unknown, error: unknown): string {
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  return `cannot be read: ${messageOf(error)}`;
}

function decode(bytes: Buffer, faults: FaultList): string {
  const mark = bytes.subarray(0, 2).toString('hex');
  if (mark === 'fffe' || mark === 'feff') return faults.stop(null, 'is written in UTF-16: save it as UTF-8');
  // A line break byte is part of no longer character, so every line can be checked by itself.
  if (!isUtf8(bytes)) {
    let line = 1;
    for (let from = 0; from < bytes.length; line += 1) {
      const next = bytes.indexOf(0x0a, from);
      const end = next === -1 ? bytes.length : next;
      if (!isUtf8(bytes.subarray(from, end))) faults.add(line, 'holds bytes that are not UTF-8');
      from = end + 1;
    }
    return faults.stop(null, 'is not written in UTF-8');
  }
  return withoutMark(bytes.toString('utf8'));
}

/** Windows editors begin a UTF-8 file with a byte order mark. */
export function withoutMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}
