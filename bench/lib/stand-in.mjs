/** Tasks for the server that stands in for opencode (see stand-in-server.mjs). */
import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const STAND_IN_MODEL = 'stand-in/model';

/** Copies the server to where cells may read it, and returns its path, which goes to cellpool as `OPENCODE_BIN`. */
export function placeStandIn(folder) {
  const path = join(folder, 'opencode.mjs');
  copyFileSync(fileURLToPath(new URL('./stand-in-server.mjs', import.meta.url)), path);
  chmodSync(path, 0o755);
  return path;
}

/** A task that adds one file after `thinkMs`. */
export function standInTask(id, thinkMs) {
  return {
    id,
    attempts: 1,
    prompt: `Add a file.\n${JSON.stringify({ think: thinkMs, file: `${id}.txt` })}`,
    test: `test -s ${id}.txt`,
  };
}
