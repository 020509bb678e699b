/** What a cell is like before a task comes: two tasks of one kind can be given the same cell. */
import type { CellKind } from './spawn-config.ts';

export function kindOf({ branch, commit, model, opencode, allow, python, caches }: CellKind): CellKind {
  return { branch, ...(commit === undefined ? {} : { commit }), model, opencode, allow, python, caches };
}

/** The same for two kinds only if they are the same. */
export function markOf({ branch, commit, model, opencode, allow, python, caches }: CellKind): string {
  return JSON.stringify([branch, commit ?? null, model ?? null, opencode, allow, python, caches]);
}
