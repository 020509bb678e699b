import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ARTIFACTS, type ArtifactName, makeArtifactFolder, writeArtifact } from '../../src/observe/artifacts.ts';
import { tempFolder } from '../os/support.ts';

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe('what is kept of an attempt', () => {
  test('lies below the state folder and belongs to the owner alone', async () => {
    const home = tempFolder();
    const folder = await makeArtifactFolder(home, 'fix-1', '1-0a1b2c3d');
    await writeArtifact(folder, ARTIFACTS.result, { outcome: 'committed' });
    expect(folder).toBe(join(home, 'artifacts', 'fix-1', '1-0a1b2c3d'));
    expect(['artifacts', 'artifacts/fix-1'].map(path => modeOf(join(home, path)))).toEqual([0o700, 0o700]);
    expect(modeOf(folder)).toBe(0o700);
    expect(modeOf(join(folder, ARTIFACTS.result))).toBe(0o600);
    expect(JSON.parse(readFileSync(join(folder, ARTIFACTS.result), 'utf8'))).toEqual({ outcome: 'committed' });
  });

  test('a folder that is there already is used, a file is written anew', async () => {
    const home = tempFolder();
    const folder = await makeArtifactFolder(home, 'fix-1', '1-x');
    await writeArtifact(folder, ARTIFACTS.transcript, ['a long first text']);
    expect(await makeArtifactFolder(home, 'fix-1', '1-x')).toBe(folder);
    await writeArtifact(folder, ARTIFACTS.transcript, []);
    expect(readFileSync(join(folder, ARTIFACTS.transcript), 'utf8')).toBe('[]\n');
  });

  test.each(['..', '.', '', '../out', '/etc', 'a/b', 'a\0b', '.hidden', 'a\nb', '-rf'])(
    'the name %j is refused before anything is made',
    async name => {
      const home = tempFolder();
      await expect(makeArtifactFolder(home, name, '1-x')).rejects.toThrow('not a name');
      await expect(makeArtifactFolder(home, 'fix-1', name)).rejects.toThrow('not a name');
      await expect(writeArtifact(home, name as ArtifactName, {})).rejects.toThrow('not a name');
      expect(readdirSync(home)).toEqual([]);
    },
  );
});
