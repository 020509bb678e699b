import { mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withRedis } from '../../src/cli/connected.ts';
import { loadSettings } from '../../src/config.ts';
import { openRedis } from '../../src/redis/open-redis.ts';

describe('a private Redis that cannot be left in order', () => {
  let home: string;
  let said: string[];

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'c-'));
    said = [];
  });
  afterEach(async () => {
    const server = await openRedis({ home });
    await server.close();
    rmSync(home, { recursive: true });
  });

  /** Runs `work` and makes the leaving fail: the lock that leaving takes cannot be opened then. */
  async function withBrokenLeave<T>(work: () => Promise<T>): Promise<T> {
    const lock = join(home, 'redis', 'door.lock');
    const settings = loadSettings({ flags: { home }, env: {} });
    try {
      return await withRedis(
        settings,
        message => said.push(message),
        async connected => {
          await (await connected.connection('producer')).ping();
          renameSync(lock, `${lock}.away`);
          symlinkSync('/nonexistent/lock', lock);
          return work();
        },
      );
    } finally {
      rmSync(lock);
      renameSync(`${lock}.away`, lock);
    }
  }

  test('is told, and the result of the work stands', async () => {
    expect(await withBrokenLeave(async () => 'the result')).toBe('the result');
    expect(said.join('\n')).toContain('door.lock');
  });

  test('is told, and the error of the work stands', async () => {
    const work = () => Promise.reject(new Error('the first error'));
    await expect(withBrokenLeave(work)).rejects.toThrow('the first error');
    expect(said.join('\n')).toContain('door.lock');
  });
});
