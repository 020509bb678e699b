/** Whether a level of isolation works on this machine; where it does not, its tests say so and are passed over. */
import { CellpoolError } from '../../src/errors.ts';
import { chooseIsolation, type Isolation, type IsolationLevel } from '../../src/os/isolation.ts';

/** The isolation, or null when it does not work here. */
export async function isolationHere(level: IsolationLevel): Promise<Isolation | null> {
  try {
    return await chooseIsolation(level);
  } catch (error) {
    if (!(error instanceof CellpoolError)) throw error;
    process.stderr.write(`skipped: ${error.message}\n`);
    return null;
  }
}
