/** The state folder: made when it is missing, and tried before anything relies on it. */
import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { CellpoolError, messageOf } from '../errors.ts';

/** @throws {CellpoolError} STATE_FOLDER when it cannot be made or written to */
export async function makeStateFolder(home: string): Promise<void> {
  try {
    await mkdir(home, { recursive: true, mode: 0o700 });
    await access(home, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new CellpoolError('STATE_FOLDER', `the state folder cannot be used: ${messageOf(error)}`, {
      hint: 'Point CELLPOOL_HOME to a folder that can be written.',
      cause: error,
    });
  }
}
