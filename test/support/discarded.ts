/** Folders of ended cells that nobody has removed yet. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Folders that any reaper takes over, by name, in the state folder `home`, and variables with which `cellpool` takes
 * about ten seconds for each.
 */
export function discardedOnSlowDisk(home: string): { names: string[]; slow: Record<string, string> } {
  const names = Array.from({ length: 4 }, (_, at) => `left-fix-${at}.0123abcd`);
  for (const name of names) {
    const workspace = join(home, 'discarded', name, 'workspace');
    mkdirSync(workspace, { recursive: true });
    for (let at = 0; at < 400; at++) writeFileSync(join(workspace, String(at)), '');
  }
  const { href } = new URL('../fixtures/slow-disk.mjs', import.meta.url);
  return { names, slow: { NODE_OPTIONS: `--import ${href}` } };
}
