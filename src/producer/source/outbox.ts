/**
 * Writes back what waits in the outbox, oldest first and one at a time. A note leaves the outbox when its source has
 * said something to it; whoever dies in between leaves it to the next, and the source knows what it was told before.
 */
import { z } from 'zod';
import type { SourceLedger } from '../../redis/source-ledger.ts';
import type { Note, TaskSource, Written } from './task-source.ts';

const attempt = z.int().min(0);
const commit = { attempt, commit: z.string(), branch: z.string() };
const common = { item: z.string(), taskId: z.string(), key: z.string(), generation: z.int().min(1) };

/** Whoever can write to Redis can write a note. */
const noteSchema = z.discriminatedUnion('kind', [
  z.object({ ...common, kind: z.literal('claim') }),
  z.object({ ...common, kind: z.literal('attempt'), attempt, outcome: z.string(), message: z.string() }),
  z.object({ ...common, kind: z.literal('done'), ...commit }),
  z.object({ ...common, kind: z.literal('awaiting-landing'), ...commit }),
  z.object({ ...common, kind: z.literal('unchanged'), attempt }),
  z.object({ ...common, kind: z.literal('failed'), attempt, outcome: z.string(), message: z.string() }),
  z.object({ ...common, kind: z.literal('cancelled'), message: z.string() }),
]);

export type StoredNote = Note & { generation: number };

export interface WriteBack {
  ledger: SourceLedger;
  source: TaskSource;
  /** Ends it after the note that is being written. */
  signal: AbortSignal;
  /** Cuts short what is being written: it is done by the next one. */
  insisted: AbortSignal;
  /** Called before the note leaves the outbox, so perhaps again after a crash. */
  onWritten(note: StoredNote, written: Written): Promise<void>;
}

/**
 * Returns when nothing waits any more, or when another bridge is writing.
 * @throws {CellpoolError} SOURCE_UNAVAILABLE; what waits goes on waiting
 */
export async function writeBack({ ledger, source, signal, insisted, onWritten }: WriteBack): Promise<void> {
  await ledger.inTurn(async () => {
    for (let text = await ledger.first(); text !== null && !signal.aborted; text = await ledger.first()) {
      const note = understood(text);
      if (note === null) {
        await ledger.drop(text);
        continue;
      }
      const done = await source.write(note, insisted);
      await onWritten(note, done);
      await ledger.written(note, note.key, text, done.how);
    }
  });
}

function understood(text: string): StoredNote | null {
  try {
    return noteSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Not even JSON: anybody may write to a shared Redis.
    return null;
  }
}
