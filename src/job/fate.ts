/** What became of a finished branch that was to land. */
import { z } from 'zod';

/**
 * What became of a candidate, for good. `landed`: its target has it. `returned`: its task is worked anew. `refused`: it
 * stays on its branch, and a person is to look at it.
 */
export const FATES = ['landed', 'returned', 'refused'] as const;

/**
 * Why a branch did not land: it contradicts its target; with it the tests fail; its task was put on the queue anew; it
 * was moved or removed since; what it adds holds a secret; a person has cancelled it;
 * it could not be tried, again and again.
 */
export const WHYS = ['conflict', 'red', 'superseded', 'gone', 'secret', 'cancelled', 'failed'] as const;

export const fateSchema = z.object({
  kind: z.enum(FATES),
  /** Why it was not landed; left out when it was. */
  why: z.enum(WHYS).optional(),
  /** In words, with the paths in conflict or the end of what the tests printed. */
  message: z.string(),
  /** The commit by which the target has it; null when it was not landed. */
  commit: z.string().nullable(),
  /** Task ids of those that landed by the same commit, itself included. */
  batch: z.array(z.string()),
  /** Tests failed on the way to it, and passed when they were run a second time. */
  flaky: z.boolean(),
  /** Epoch ms. */
  at: z.number(),
});
export type Fate = z.infer<typeof fateSchema>;
