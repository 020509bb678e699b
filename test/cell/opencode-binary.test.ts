import { chmodSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { findOpencode } from '../../src/cell/opencode-binary.ts';
import { opencodeVersion } from '../../src/cell/spawner-site.ts';
import { tempFolder } from '../support/repository.ts';

afterEach(() => vi.unstubAllEnvs());

describe('the opencode program', () => {
  test("is the platform's own one that npm installed, and runs", async () => {
    const found = await findOpencode(undefined);
    expect(found).toContain(`${sep}node_modules${sep}opencode-`);
    expect(await opencodeVersion(found)).toMatch(/^\d+\.\d+\.\d+/);
  });

  test('is found without a PATH', async () => {
    vi.stubEnv('PATH', undefined);
    expect(await findOpencode(undefined)).toContain('node_modules');
  });

  test('is the one that OPENCODE_BIN names, through links too', async () => {
    const link = join(tempFolder(), 'my opencode');
    symlinkSync(await findOpencode(undefined), link);
    expect(await findOpencode(link)).toBe(link);
  });

  test('is told by an absolute path, since the server starts in another folder', async () => {
    const absolute = await findOpencode(undefined);
    expect(await findOpencode(relative(process.cwd(), absolute))).toBe(absolute);
  });

  test('is not looked for elsewhere when OPENCODE_BIN names none', async () => {
    const folder = tempFolder();
    const file = join(folder, 'plain-file');
    writeFileSync(file, '');
    chmodSync(file, 0o644);
    for (const wrong of [file, join(folder, 'missing'), folder]) {
      await expect(findOpencode(wrong)).rejects.toMatchObject({
        code: 'OPENCODE_MISSING',
        message: expect.stringContaining(wrong),
        hint: expect.stringContaining('OPENCODE_BIN'),
      });
    }
  });

  test('that does not run is missing, and its own words say why', async () => {
    const broken = join(tempFolder(), 'opencode');
    writeFileSync(broken, '#!/bin/sh\necho "libsomething.so: not found" >&2\nexit 127\n');
    chmodSync(broken, 0o755);
    await expect(opencodeVersion(broken)).rejects.toMatchObject({
      code: 'OPENCODE_MISSING',
      message: expect.stringContaining('libsomething.so: not found'),
    });
  });
});
