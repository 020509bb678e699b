/** What is on the disk of cells, those that have ended and are not removed yet included. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Their names below a state folder. */
export function cellFolders(home) {
  return ['cells', 'discarded', 'spares', 'landings'].flatMap(name => {
    const folder = join(home, name);
    return existsSync(folder) ? readdirSync(folder).map(one => `${name}/${one}`) : [];
  });
}
