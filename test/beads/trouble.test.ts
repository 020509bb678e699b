/**
 * The real bd, but for one call that it answers with a fault: nothing is lost and nothing given up for a fault that
 * passes, known to us or not.
 */
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BeadsSource } from '../../src/producer/beads/beads-source.ts';
import type { News, Note } from '../../src/producer/source/task-source.ts';
import { bdHere, makeTracker, PATIENT_MS, type Tracker } from '../support/bd.ts';

const program = bdHere('Beads in trouble');
const signal = new AbortController().signal;

let folder = '';
let tracker: Tracker;
let source: BeadsSource;

/** The next call of this name makes no change, and says this. */
function nextSays(call: string, said: string): void {
  writeFileSync(join(folder, call), said);
}

const TROUBLED = `#!/bin/sh
if [ -f "$FOLDER/$1" ]; then cat "$FOLDER/$1" >&2; rm "$FOLDER/$1"; exit 1; fi
exec "$REAL" "$@"
`;

const DONE: News = { kind: 'done', attempt: 1, commit: 'c0ffee0123', branch: 'cellpool/x' };
const write = (item: string, news: News) => {
  const note = { ...news, item, taskId: item, key: news.kind } as Note;
  return source.write(note, signal);
};

const FAULTS = ['Error 1105: cannot update manifest: database is read only', 'a fault that nobody has seen before'];

describe.skipIf(program === null)('a fault of bd', () => {
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'beads-trouble-')));
    tracker = makeTracker(program as string, folder);
    const troubled = join(folder, 'troubled-bd');
    writeFileSync(troubled, TROUBLED.replaceAll('$REAL', program as string).replaceAll('$FOLDER', folder));
    chmodSync(troubled, 0o755);
    const env = { ...tracker.env, BD_BIN: troubled };
    source = await BeadsSource.open({ repository: tracker.folder, pool: 'k3x9', env, timeoutMs: PATIENT_MS });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

  test.each(FAULTS)('takes no claim away, and the close is made up for: %s', async fault => {
    const id = tracker.create('worked in spite of it');
    nextSays('update', fault);
    await expect(write(id, { kind: 'claim' })).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect(await write(id, { kind: 'claim' })).toEqual({ how: 'written' });
    nextSays('close', fault);
    await expect(write(id, DONE)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect(await write(id, DONE)).toEqual({ how: 'written' });
    expect(tracker.show(id)).toMatchObject({ status: 'closed', close_reason: expect.stringContaining('c0ffee0123') });
    expect(tracker.comments(id)).toEqual([]);
  });

  test('while a refused close is told is waited for: comment and label are there in the end', async () => {
    const id = tracker.create('parent');
    await write(id, { kind: 'claim' });
    tracker.create('child', '--parent', id);
    for (const call of ['comment', 'update']) {
      nextSays(call, FAULTS[0] as string);
      await expect(write(id, DONE)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    }
    expect(await write(id, DONE)).toMatchObject({ how: 'refused', reason: expect.stringContaining('open child') });
    expect(tracker.show(id).labels).toEqual(['cellpool-not-closed']);
    expect(tracker.comments(id)).toHaveLength(1);
  });
});
