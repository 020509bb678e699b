/**
 * Writes back what waits in the outbox, oldest first and one at a time. A note leaves the outbox when its source has
 * said something to it; whoever dies in between leaves it to the next, and the source knows what it was told before.
 */
import { z } from 'zod';
import { CellpoolError } from '../../errors.ts';
import { taskIdFault } from '../../job/names.ts';
import type { SourceLedger } from '../../redis/source-ledger.ts';
import type { Note, TaskSource, Written } from './task-source.ts';

const attempt = z.int().min(0);
const commit = { attempt, commit: z.string(), branch: z.string() };
const name = z.string().refine(id => taskIdFault(id) === null);
const common = { item: name, taskId: name, key: z.string().min(1), generation: z.int().min(1) };

/** Whoever can write to Redis can write a note. */
const noteSchema = z.discriminatedUnion('kind', [
  z.object({ ...common, kind: z.literal('claim') }),
  z.object({ ...common, kind: z.literal('attempt'), attempt, outcome: z.string(), message: z.string() }),
  z.object({ ...common, kind: z.literal('done'), ...commit }),
  z.object({ ...common, kind: z.literal('awaiting-landing'), ...commit }),
  z.object({ ...common, kind: z.literal('not-landed'), ...commit, message: z.string() }),
  z.object({ ...common, kind: z.literal('unchanged'), attempt }),
  z.object({ ...common, kind: z.literal('failed'), attempt, outcome: z.string(), message: z.string() }),
  z.object({ ...common, kind: z.literal('cancelled'), message: z.string() }),
]);

export type StoredNote = Note & { generation: number };

/** A note that the source could not take, though it took others or was not asked about others. */
export interface Stuck {
  note: StoredNote;
  text: string;
  error: CellpoolError;
}

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
 * Goes once through all that waits. What is stuck holds up the later notes of its own item and nothing else. Null when
 * another bridge is writing. @throws {CellpoolError} SOURCE_UNAVAILABLE when notes of two items were not taken: then
 * it is the source that is away
 */
export async function writeBack({ ledger, source, signal, insisted, onWritten }: WriteBack): Promise<Stuck[] | null> {
  const done = await ledger.inTurn(async over => {
    const cut = new AbortController();
    const end = () => cut.abort();
    for (const one of [over, insisted]) one.addEventListener('abort', end, { once: true });
    const stuck: Stuck[] = [];
    try {
      for (const text of await ledger.outbox()) {
        if (signal.aborted || insisted.aborted || over.aborted) break;
        const note = understood(text);
        if (note === null) await ledger.drop(text);
        if (note === null || stuck.some(one => one.note.item === note.item)) continue;
        try {
          const written = await source.write(note, cut.signal);
          await onWritten(note, written);
          await ledger.written(note, note.key, text, written.how);
        } catch (error) {
          if (!(error instanceof CellpoolError) || error.code !== 'SOURCE_UNAVAILABLE' || stuck.length > 0) throw error;
          stuck.push({ note, text, error });
        }
      }
      return stuck;
    } finally {
      for (const one of [over, insisted]) one.removeEventListener('abort', end);
    }
  });
  return done === null ? null : done.result;
}

function understood(text: string): StoredNote | null {
  try {
    return noteSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    // Not even JSON: anybody may write to a shared Redis.
    return null;
  }
}
