/** Cells that were made ahead, each of them for the first task of its kind that comes. */
import type { PreparedCell } from './cell.ts';
import { markOf } from './cell-kind.ts';
import type { CellKind } from './spawn-config.ts';

export class Shelf {
  readonly #cells = new Set<PreparedCell>();

  /** Oldest first. */
  get cells(): readonly PreparedCell[] {
    return [...this.#cells];
  }

  put(cell: PreparedCell): void {
    this.#cells.add(cell);
  }

  /** The oldest of this kind, which is whoever calls this' to use or to remove; null when there is none. */
  take(kind: CellKind): PreparedCell | null {
    const mark = markOf(kind);
    for (const cell of this.#cells) if (markOf(cell.kind) === mark && this.remove(cell)) return cell;
    return null;
  }

  /** False when it was taken already. */
  remove(cell: PreparedCell): boolean {
    return this.#cells.delete(cell);
  }
}

/** Whether something has happened to it that no task should find. */
export function isSound({ server, port, disk }: PreparedCell): boolean {
  return server.process.endedWith === null && !port.lost.aborted && !disk.over.aborted;
}
