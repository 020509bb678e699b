import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BoundedLog } from '../../src/os/bounded-log.ts';
import { BOUND, tempFolder } from './support.ts';

/** So much of the end is kept, as the log's own constant says. */
const TAIL = 64 * 1024;

/** Bytes in which every place can be told from its neighbours. */
function pattern(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => 33 + ((at * 7 + Math.floor(at / 90)) % 90)));
}

/** What the file must be for `all` bytes, however they came. */
function expectedFile(all: Buffer, headBytes: number): Buffer {
  if (all.length <= headBytes) return all;
  const kept = all.subarray(Math.max(headBytes, all.length - TAIL));
  const note = `\n[${all.length - headBytes - kept.length} bytes left out]\n`;
  return Buffer.concat([all.subarray(0, headBytes), Buffer.from(note), kept]);
}

async function fileOf(chunks: Buffer[], headBytes: number): Promise<{ file: Buffer; tail: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'log-'));
  try {
    const log = new BoundedLog(join(folder, 'log'), headBytes);
    for (const chunk of chunks) log.write(chunk);
    await log.close();
    return { file: readFileSync(join(folder, 'log')), tail: log.tail(TAIL) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('what is kept', () => {
  test('everything, when it is little; the file belongs to the owner alone', async () => {
    const path = join(tempFolder(), 'log');
    const log = new BoundedLog(path);
    log.write(Buffer.from('one\n'));
    log.write(Buffer.from('two\n'));
    await log.close();
    expect(readFileSync(path, 'utf8')).toBe('one\ntwo\n');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(log.tail()).toBe('one\ntwo\n');
    expect(log.tail(3)).toBe('wo\n');
    expect(log.problem).toBeNull();
  });

  test('the head, a note with the exact count, and the end', async () => {
    const all = pattern(10 + 5 + TAIL);
    const { file } = await fileOf([all], 10);
    const start = `${all.subarray(0, 10)}\n[5 bytes left out]\n`;
    expect(file.subarray(0, start.length).toString()).toBe(start);
    expect(file.equals(expectedFile(all, 10))).toBe(true);
  });

  test('nothing at all leaves an empty file and an empty tail', async () => {
    expect(await fileOf([], 10)).toEqual({ file: Buffer.alloc(0), tail: '' });
  });

  test('the same file and tail, however the bytes were cut into chunks', async () => {
    const interesting = [0, 1, 99, 100, 101, TAIL - 1, TAIL, TAIL + 1, TAIL + 99, TAIL + 100, TAIL + 101, 3 * TAIL + 7];
    const lengths = fc.oneof(fc.constantFrom(...interesting), fc.nat(4 * TAIL));
    const cuts = fc.array(fc.oneof(fc.nat(300), fc.nat(2 * TAIL)), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(lengths, cuts, fc.constantFrom(0, 1, 100, TAIL, 2 * TAIL), async (length, sizes, headBytes) => {
        const all = pattern(length);
        const chunks: Buffer[] = [];
        let from = 0;
        for (const size of sizes) {
          chunks.push(all.subarray(from, from + size));
          from += size;
        }
        chunks.push(all.subarray(from));
        const { file, tail } = await fileOf(chunks, headBytes);
        expect(file.equals(expectedFile(all, headBytes))).toBe(true);
        expect(tail === all.subarray(-TAIL).toString()).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  test('only what a filter lets through, in file, count and tail, with what it kept back at the end', async () => {
    const path = join(tempFolder(), 'log');
    const kept: Buffer[] = [];
    // Keeps every chunk back until the next one comes, in capitals.
    const filter = {
      push: (chunk: Buffer) => {
        kept.push(Buffer.from(chunk.toString().toUpperCase()));
        return kept.length > 1 ? (kept.shift() ?? Buffer.alloc(0)) : Buffer.alloc(0);
      },
      end: () => Buffer.concat(kept.splice(0)),
    };
    const log = new BoundedLog(path, 4, filter);
    log.write(Buffer.from('abc'));
    log.write(Buffer.from('def'));
    expect(log.tail()).toBe('ABC');
    await log.close();
    await log.close();
    expect(log.tail()).toBe('ABCDEF');
    expect(readFileSync(path, 'utf8')).toBe('ABCD\n[0 bytes left out]\nEF');
  });

  test('a chunk that is changed after it was written does not change the tail', async () => {
    const log = new BoundedLog(join(tempFolder(), 'log'));
    const chunk = Buffer.from('before');
    log.write(chunk);
    await log.close();
    chunk.fill('x');
    expect(log.tail()).toBe('before');
  });

  test('a million chunks of one byte are as good as one', async () => {
    const log = new BoundedLog(join(tempFolder(), 'log'), 1_000);
    const byte = Buffer.from('x');
    for (let count = 0; count < 1_000_000; count += 1) log.write(byte);
    await log.close();
    expect(log.tail(TAIL)).toHaveLength(TAIL);
  });
});

describe('a disk that does not take it', () => {
  test.skipIf(!existsSync('/dev/full'))('a full disk cuts the log short, says why, and keeps the tail', async () => {
    const log = new BoundedLog('/dev/full');
    for (let count = 0; count < 100; count += 1) {
      log.write(Buffer.from(`line ${count}\n`));
      await new Promise(setImmediate);
    }
    await log.close();
    expect(log.problem).toMatchObject({ code: 'ENOSPC' });
    expect(log.tail(8)).toBe('line 99\n');
    log.write(Buffer.from('later'));
    expect(log.tail(5)).toBe('later');
    await log.close();
  });

  test('so does a folder that is not there, closed at once or later', async () => {
    const path = join(tempFolder(), 'nowhere', 'log');
    const [early, late] = [new BoundedLog(path), new BoundedLog(path)];
    early.write(Buffer.from('said'));
    await early.close();
    await expect.poll(() => late.problem, BOUND).toMatchObject({ code: 'ENOENT' });
    late.write(Buffer.from('said'));
    await late.close();
    expect([early.tail(), late.tail()]).toEqual(['said', 'said']);
    expect(early.problem).toMatchObject({ code: 'ENOENT' });
  });

  test('closing twice is closing once, and what comes later stays out of the file', async () => {
    const path = join(tempFolder(), 'log');
    const log = new BoundedLog(path, 4);
    log.write(Buffer.from('in the file'));
    await Promise.all([log.close(), log.close()]);
    const file = readFileSync(path, 'utf8');
    log.write(Buffer.from(' and not'));
    await log.close();
    expect(file).toBe('in t\n[0 bytes left out]\nhe file');
    expect(readFileSync(path, 'utf8')).toBe(file);
    expect(log.tail()).toBe('in the file and not');
  });
});
