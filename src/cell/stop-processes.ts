/** All processes of a cell end: those that its server leads, and those that have left it. */
import { killStrays } from '../os/process.ts';
import type { Cell, CellServer } from './cell.ts';
import { cellMarker } from './environment.ts';

/**
 * Ends the server, if there is one yet, with all that it or the agent started. Harmless when repeated. It gets no time to
 * say goodbye: all it could save belongs to a cell that ends with it, and on busy processors that takes it a second.
 */
export async function stopProcesses({
  id,
  dir,
  server,
  bounds,
}: Pick<Cell, 'id' | 'dir' | 'bounds'> & { server: CellServer | null }): Promise<void> {
  try {
    await server?.stop(0);
  } finally {
    // Where there is a group it holds all of them, also those that hide from the search.
    await bounds.kill();
    await killStrays(cellMarker(id), dir);
  }
}
