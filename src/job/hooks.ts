/** Hooks: commands of the repository, and callbacks of a program, at fixed moments in a cell's life. */
import { z } from 'zod';
import { HOOKS, LIMITS } from '../config.ts';

export { HOOKS };
export type HookName = (typeof HOOKS)[number];

/** A shell command, or one with a time limit of its own in milliseconds. */
export const hookSchema = z.union(
  [
    z.string().min(1),
    z.strictObject({ run: z.string().min(1), timeoutMs: z.int().min(1).max(LIMITS.timeoutMs).optional() }),
  ],
  'must be a command, or an object with "run" and "timeoutMs"',
);
export type Hook = z.infer<typeof hookSchema>;

export const hooksSchema = z.partialRecord(z.enum(HOOKS), hookSchema);
export type Hooks = z.infer<typeof hooksSchema>;
