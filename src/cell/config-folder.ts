/**
 * The opencode config folder that all cells share. A fresh one makes every server install a plugin package into it:
 * 60 MB of disk, 3 CPU seconds and over 100 MB of memory a cell. With these stubs in place nothing is installed.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isThere } from '../os/is-there.ts';

const PLUGIN = '@opencode-ai/plugin';

/** Makes the folder for this opencode version once and returns it; it goes to cells as `XDG_CONFIG_HOME`. */
export async function prepareConfigFolder(home: string, version: string): Promise<string> {
  const folder = join(home, 'opencode-config', version.replace(/[^A-Za-z0-9.-]/g, '_'));
  if (await isThere(folder)) return folder;
  const draft = `${folder}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    for (const [path, content] of Object.entries(stubs(version))) {
      const file = join(draft, 'opencode', path);
      await mkdir(dirname(file), { recursive: true, mode: 0o700 });
      await writeFile(file, content);
    }
    await rename(draft, folder);
  } catch (error) {
    // Another worker of this host was quicker: its folder is as good as ours.
    if (!(await isThere(folder))) throw error;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return folder;
}

function stubs(version: string): Record<string, string> {
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const dependencies = { [PLUGIN]: version };
  return {
    '.gitignore': 'node_modules\npackage.json\npackage-lock.json\nbun.lock\n.gitignore\n',
    'package.json': json({ dependencies }),
    'package-lock.json': json({
      lockfileVersion: 3,
      requires: true,
      packages: { '': { dependencies }, [`node_modules/${PLUGIN}`]: { version } },
    }),
    [`node_modules/${PLUGIN}/package.json`]: json({ name: PLUGIN, version, type: 'module', exports: {} }),
  };
}
