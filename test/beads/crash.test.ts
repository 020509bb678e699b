/**
 * Every write to the real bd, cut off after each of its changes: the change is made, and whoever made it dies before it
 * hears of it. The next one finishes what was begun, and nothing is there twice.
 */
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BeadsSource } from '../../src/producer/beads/beads-source.ts';
import type { News, Note } from '../../src/producer/source/task-source.ts';
import { bdHere, makeTracker, PATIENT_MS, type Tracker } from '../support/bd.ts';

const program = bdHere('writes to Beads that are cut off');
const signal = new AbortController().signal;

let folder = '';
let tracker: Tracker;
let source: BeadsSource;
/** Asks a bd whose answer to one of its changes is lost. */
let cutOff: BeadsSource;

/** A bd that makes its `n`th change from now and then says that its line broke. */
function breakAt(n: number): void {
  writeFileSync(join(folder, 'left'), `${n}\n`);
}

const BROKEN = `#!/bin/sh
case "$1" in update|comment|close) ;; *) exec "$REAL" "$@" ;; esac
left=$(($(cat "$LEFT") - 1))
echo $left >"$LEFT"
[ $left -eq 0 ] || exec "$REAL" "$@"
"$REAL" "$@" >/dev/null 2>&1
echo "connection reset by peer" >&2
exit 1
`;

const DONE = { attempt: 1, commit: 'c0ffee', branch: 'cellpool/x' };

interface Case {
  name: string;
  news: News;
  /** How the bead is before it. */
  prepare?(id: string): Promise<unknown> | unknown;
  after: { status: string; assignee: 'ours' | null; labels: string[]; comments: number };
  /** What a repeated write says. */
  repeated?: string;
}

const claim = (id: string) => source.write({ kind: 'claim', item: id, taskId: id, key: 'claim' }, signal);

const CASES: Case[] = [
  {
    name: 'claim',
    news: { kind: 'claim' },
    prepare: id => tracker.bd('label', 'add', id, 'cellpool-failed'),
    after: { status: 'in_progress', assignee: 'ours', labels: [], comments: 0 },
  },
  {
    name: 'attempt',
    news: { kind: 'attempt', attempt: 1, outcome: 'reverted', message: 'x' },
    prepare: claim,
    after: { status: 'in_progress', assignee: 'ours', labels: [], comments: 1 },
  },
  {
    name: 'awaiting landing',
    news: { kind: 'awaiting-landing', ...DONE },
    prepare: claim,
    after: { status: 'in_progress', assignee: 'ours', labels: ['cellpool-awaiting-landing'], comments: 0 },
  },
  {
    name: 'done',
    news: { kind: 'done', ...DONE },
    prepare: async id => {
      await claim(id);
      await source.write({ kind: 'awaiting-landing', ...DONE, item: id, taskId: id, key: 'landing' }, signal);
    },
    after: { status: 'closed', assignee: 'ours', labels: [], comments: 0 },
  },
  {
    name: 'done, when the bead was taken away meanwhile',
    news: { kind: 'done', ...DONE },
    after: { status: 'closed', assignee: 'ours', labels: [], comments: 0 },
  },
  {
    name: 'done, and Beads refuses it',
    news: { kind: 'done', ...DONE },
    prepare: async id => {
      await claim(id);
      tracker.create('child', '--parent', id);
    },
    after: { status: 'in_progress', assignee: 'ours', labels: ['cellpool-not-closed'], comments: 1 },
    repeated: 'refused',
  },
  {
    name: 'failed',
    news: { kind: 'failed', attempt: 2, outcome: 'reverted', message: 'x' },
    prepare: claim,
    after: { status: 'open', assignee: null, labels: ['cellpool-failed'], comments: 1 },
  },
  {
    name: 'unchanged',
    news: { kind: 'unchanged', attempt: 1 },
    prepare: claim,
    after: { status: 'open', assignee: null, labels: ['cellpool-no-changes'], comments: 1 },
  },
  {
    name: 'cancelled',
    news: { kind: 'cancelled', message: '' },
    prepare: claim,
    after: { status: 'open', assignee: null, labels: ['cellpool-cancelled'], comments: 1 },
  },
];

/** More than any write changes. */
const MOST_CHANGES = 6;

describe.skipIf(program === null)('a write that is cut off', () => {
  beforeAll(async () => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'beads-crash-')));
    tracker = makeTracker(program as string, folder);
    const broken = join(folder, 'broken-bd');
    writeFileSync(broken, BROKEN.replaceAll('$REAL', program as string).replaceAll('$LEFT', join(folder, 'left')));
    chmodSync(broken, 0o755);
    source = await BeadsSource.open({
      repository: tracker.folder,
      pool: 'k3x9',
      env: tracker.env,
      timeoutMs: PATIENT_MS,
    });
    const env = { ...tracker.env, BD_BIN: broken };
    cutOff = await BeadsSource.open({ repository: tracker.folder, pool: 'k3x9', env, timeoutMs: PATIENT_MS });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

  test.each(CASES)('is finished by the next: $name', async ({ news, prepare, after, repeated = 'known' }) => {
    let cuts = 0;
    for (let n = 1; n <= MOST_CHANGES; n += 1) {
      const id = tracker.create(`${news.kind} ${n}`);
      await prepare?.(id);
      const note = { ...news, item: id, taskId: id, key: 'k' } as Note;
      breakAt(n);
      const first: unknown = await cutOff.write(note, signal).catch((error: unknown) => error);
      const wasCut = first instanceof Error;
      if (wasCut) {
        cuts += 1;
        expect(first).toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
        await source.write(note, signal);
      }
      const assignee = after.assignee === 'ours' ? `cellpool-k3x9/${id}` : undefined;
      const seen = tracker.show(id);
      expect([seen.status, seen.assignee, seen.labels ?? []]).toEqual([after.status, assignee, after.labels]);
      expect(tracker.comments(id)).toHaveLength(after.comments);
      expect(await source.write(note, signal)).toMatchObject({ how: repeated });
      expect(tracker.comments(id)).toHaveLength(after.comments);
      if (!wasCut) break;
    }
    expect(cuts).toBeGreaterThan(0);
    expect(cuts).toBeLessThan(MOST_CHANGES);
  });
});
