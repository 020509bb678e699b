/** Rooms of src as JavaScript, for tests whose programs run in a process of their own: a plain node reads no types. */
import { mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const project = fileURLToPath(new URL('../..', import.meta.url));

/** Compiles these folders of src, and what they import, into a temporary folder, which the caller removes. */
export async function compiledRooms(...rooms: readonly string[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'js-'));
  symlinkSync(join(project, 'node_modules'), join(folder, 'node_modules'));
  const settings = {
    extends: join(project, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      // `npm run types` sees to the types; here it would be most of what compiling costs, in every file anew.
      noCheck: true,
      outDir: folder,
      rootDir: join(project, 'src'),
      typeRoots: [join(project, 'node_modules/@types')],
    },
    include: rooms.map(room => join(project, 'src', room, '**/*')),
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  await execa(process.execPath, [join(project, 'node_modules/typescript/bin/tsc'), '-p', folder]);
  return folder;
}
