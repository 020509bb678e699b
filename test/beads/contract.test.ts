/** The contract with Beads, row by row, against the real bd: what is asked, what is written, and what is not. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BeadsOptions, BeadsSource } from '../../src/producer/beads/beads-source.ts';
import type { News, Note } from '../../src/producer/source/task-source.ts';
import { bdHere, makeTracker, PATIENT_MS, type Tracker } from '../support/bd.ts';
import { makeRepository, pictureOf, refsOf } from '../support/repository.ts';

const program = bdHere('the contract with Beads');
const signal = new AbortController().signal;

const POOL = 'k3x9';

let folder = '';
let tracker: Tracker;
let source: BeadsSource;

const open = (more: Partial<BeadsOptions> = {}) =>
  BeadsSource.open({ repository: tracker.folder, pool: POOL, env: tracker.env, timeoutMs: PATIENT_MS, ...more });

function noteOf(item: string, news: News, taskId = item): Note {
  const attempt = 'attempt' in news ? `:${news.attempt}` : '';
  return { ...news, item, taskId, key: `${news.kind}${attempt}` } as Note;
}

const write = (item: string, news: News, taskId = item) => source.write(noteOf(item, news, taskId), signal);
const stateOf = (id: string) => {
  const { status, assignee, labels } = tracker.show(id);
  return { status, assignee: assignee ?? null, labels: labels ?? [] };
};
async function claimed(title: string, ...args: string[]): Promise<string> {
  const id = tracker.create(title, ...args);
  expect(await write(id, { kind: 'claim' })).toEqual({ how: 'written' });
  return id;
}

const DONE: News = { kind: 'done', attempt: 1, commit: 'c0ffee0123', branch: 'cellpool/x' };
const FAILED: News = {
  kind: 'failed',
  attempt: 3,
  outcome: 'reverted',
  message: 'tests failed\n\u001b[31mred\u001b[0m\n# end',
};

describe.skipIf(program === null)('Beads', () => {
  beforeAll(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), 'beads-')));
    tracker = makeTracker(program as string, folder);
  });
  beforeAll(async () => {
    source = await open();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));

  describe('what is ready', () => {
    test('is open, unassigned, unblocked, no epic, and waits for no person; most urgent first', async () => {
      const late = tracker.create('late', '-p', '3');
      const urgent = tracker.create('urgent', '-p', '0');
      const blocked = tracker.create('blocked', '-p', '0');
      tracker.bd('dep', 'add', blocked, late);
      const others = [
        tracker.create('an epic', '-t', 'epic'),
        tracker.create('has somebody', '-a', 'anna'),
        ...['failed', 'cancelled', 'no-changes', 'not-closed'].map(why => tracker.create(why, '-l', `cellpool-${why}`)),
      ];
      const ready = await source.ready(signal);
      expect(ready.filter(id => [late, urgent].includes(id))).toEqual([urgent, late]);
      for (const id of [blocked, ...others]) expect(ready).not.toContain(id);
      for (const id of [blocked, ...others]) expect(await source.read(id, signal)).toBeNull();
    });

    test('is what a person has reopened, though bd leaves the task there that was done; and that is claimed', async () => {
      const id = await claimed('done, and not well');
      await write(id, DONE);
      expect(await source.ready(signal)).not.toContain(id);
      tracker.bd('reopen', id, '--reason', 'not well');
      expect(stateOf(id)).toMatchObject({ status: 'open', assignee: expect.stringContaining(id) });
      expect(await source.ready(signal)).toContain(id);
      expect(await source.read(id, signal)).toMatchObject({ task: { title: 'done, and not well' } });
      expect(await write(id, { kind: 'claim' }, `${id}-g2`)).toEqual({ how: 'written' });
      expect(stateOf(id)).toMatchObject({ status: 'in_progress', assignee: `cellpool-${POOL}/${id}-g2` });
      expect(await write(id, { ...DONE, commit: 'cafe' }, `${id}-g2`)).toEqual({ how: 'written' });
      expect(tracker.show(id)).toMatchObject({ status: 'closed', close_reason: expect.stringContaining('cafe') });
    });

    test('carries the label that is asked for', async () => {
      const labelled = tracker.create('with it', '-l', 'agent,web');
      const other = tracker.create('without it');
      const choosy = await open({ label: 'agent' });
      expect(await choosy.ready(signal)).toEqual([labelled]);
      expect(await choosy.read(other, signal)).toBeNull();
    });

    test('changes nothing: discovery is not seen in the tracker', async () => {
      const id = tracker.create('look at me', '-d', 'x');
      const before = tracker.show(id);
      await source.ready(signal);
      await source.read(id, signal);
      await source.look([id], signal);
      expect(tracker.show(id)).toEqual(before);
    });
  });

  describe('a bead is read', () => {
    test('with all that is known of it, as one call of bd after the other says', async () => {
      const parent = tracker.create('Sound forms', '-t', 'epic');
      const before = tracker.create('Move the form');
      const id = tracker.create(
        ...(['Refuse empty passwords', '-t', 'bug', '-p', '1', '--parent', parent, '-d', 'It takes them.'] as const),
        ...['--acceptance', 'A test shows it.', '--design', 'In validate.js', '-l', 'agent,cellpool:budget=900'],
      );
      tracker.bd('update', id, '--notes', 'Seen twice.');
      tracker.bd('dep', 'add', id, before);
      tracker.bd('close', before, '--reason', 'moved to forms/');
      tracker.bd('comment', id, 'Only on the first page.');
      const found = await (await open({ allowedLabels: ['budget'] })).read(id, signal);
      expect(found?.remarks).toEqual([]);
      expect(found?.task).toMatchObject({
        title: 'Refuse empty passwords',
        priority: 2,
        tokenBudget: 900,
        metadata: { source: 'beads', item: id },
      });
      for (const part of [
        `Issue: ${id}\nTitle: Refuse empty passwords\nType: bug\n`,
        `Part of: ${parent} Sound forms`,
        'Description:\nIt takes them.',
        'Acceptance criteria:\nA test shows it.',
        'Design:\nIn validate.js',
        'Notes:\nSeen twice.',
        `- ${before} Move the form: moved to forms/`,
        'Only on the first page.',
      ]) {
        expect(found?.task.prompt).toContain(part);
      }
    });

    test('as null when there is none of that name, also when a part of it is the name of another', async () => {
      const id = tracker.create('a longer name');
      expect(await source.read(id.slice(0, -1), signal)).toBeNull();
      expect(await source.read('p-nosuch', signal)).toBeNull();
    });

    test('not at all when its name could be an option', async () => {
      await expect(source.read('--help', signal)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    });

    test.each([
      ['cellpool:test=npm test -- --grep x', 'npm test -- --grep x'],
      ['cellpool:test=make check && true', 'make check && true'],
    ])('with the wish of label %j as it was written', async (label, command) => {
      const id = tracker.create('wish');
      tracker.bd('label', 'add', id, label);
      expect((await (await open({ allowedLabels: ['test'] })).read(id, signal))?.task.test).toBe(command);
    });
  });

  describe('an attempt begins', () => {
    test('the bead is claimed by the pool and the job, once', async () => {
      const id = await claimed('take me');
      expect(stateOf(id)).toEqual({ status: 'in_progress', assignee: `cellpool-${POOL}/${id}`, labels: [] });
      expect(await write(id, { kind: 'claim' })).toEqual({ how: 'known' });
    });

    test('what somebody else has is lost, and stays theirs', async () => {
      const id = tracker.create('mine', '-a', 'anna');
      expect(await write(id, { kind: 'claim' })).toEqual({ how: 'lost', reason: `${id} is assigned to anna` });
      expect(stateOf(id).assignee).toBe('anna');
      const other = await claimed('of another task');
      expect(await write(other, { kind: 'claim' }, `${other}-g2`)).toMatchObject({ how: 'lost' });
    });

    test.each(['closed', 'deferred', 'blocked'])('what is %s is lost', async status => {
      const id = tracker.create('not now');
      if (status === 'closed') tracker.bd('close', id, '--reason', 'done by hand');
      else tracker.bd('update', id, '--status', status);
      expect(await write(id, { kind: 'claim' })).toMatchObject({ how: 'lost' });
      expect(stateOf(id).status).toBe(status);
    });

    test('of a task that is tried again: the labels of its end are gone', async () => {
      const id = await claimed('again', '-l', 'agent');
      await write(id, FAILED);
      expect(await write(id, { kind: 'claim' })).toEqual({ how: 'written' });
      expect(stateOf(id)).toEqual({ status: 'in_progress', assignee: `cellpool-${POOL}/${id}`, labels: ['agent'] });
    });

    test('of two pools that call their tasks the same, the second has lost, and what the first left is not its own', async () => {
      const id = await claimed('wanted by two pools');
      const other = await open({ pool: 'other' });
      const ofOther = (news: News) => other.write(noteOf(id, news), signal);
      expect(await ofOther({ kind: 'claim' })).toEqual({
        how: 'lost',
        reason: `${id} is assigned to cellpool-${POOL}/${id}`,
      });
      expect(await ofOther(DONE)).toMatchObject({ how: 'lost' });
      expect(await write(id, DONE)).toEqual({ how: 'written' });
      tracker.bd('reopen', id, '--reason', 'not well');
      expect(await other.ready(signal)).not.toContain(id);
      expect(await ofOther({ kind: 'claim' })).toMatchObject({ how: 'lost' });
      tracker.bd('update', id, '--assignee', '');
      expect(await other.ready(signal)).toContain(id);
    });

    test('of two pools that give the same up in turn, each says so', async () => {
      const id = await claimed('given up by two pools');
      await write(id, FAILED);
      tracker.bd('label', 'remove', id, 'cellpool-failed');
      const other = await open({ pool: 'other' });
      for (const news of [{ kind: 'claim' } as const, FAILED]) {
        expect(await other.write(noteOf(id, news), signal)).toEqual({ how: 'written' });
      }
      expect(tracker.comments(id)).toHaveLength(2);
    });

    test('is told by nobody who has not said which pool it is', async () => {
      const id = tracker.create('for looks alone');
      const looker = await open({ pool: undefined });
      await expect(looker.write(noteOf(id, { kind: 'claim' }), signal)).rejects.toThrow('without a pool');
      expect(await looker.ready(signal)).toContain(id);
      await expect(open({ pool: 'a/b' })).rejects.toThrow('no id of a pool');
      expect(stateOf(id)).toMatchObject({ status: 'open', assignee: null });
    });

    test('of two who claim at once one has the bead', async () => {
      const id = tracker.create('wanted by two');
      const second = await open();
      const both = await Promise.all([
        source.write(noteOf(id, { kind: 'claim' }, `${id}-a`), signal),
        second.write(noteOf(id, { kind: 'claim' }, `${id}-b`), signal),
      ]);
      expect(both.map(({ how }) => how).sort()).toEqual(['lost', 'written']);
      const winner = both[0]?.how === 'written' ? 'a' : 'b';
      expect(stateOf(id).assignee).toBe(`cellpool-${POOL}/${id}-${winner}`);
    });
  });

  describe('an attempt fails and another follows', () => {
    const ATTEMPT: News = { kind: 'attempt', attempt: 1, outcome: 'reverted', message: 'expected 1 to be 2\n' };

    test('the claim stays, and there is one comment for each attempt', async () => {
      const id = await claimed('hard');
      expect(await write(id, ATTEMPT)).toEqual({ how: 'written' });
      expect(await write(id, ATTEMPT)).toEqual({ how: 'known' });
      expect(await write(id, { ...ATTEMPT, attempt: 2 })).toEqual({ how: 'written' });
      expect(tracker.comments(id)).toEqual([
        `[cellpool pool=${POOL} job=${id} attempt=1 note=attempt:1] Attempt 1 ended reverted; another one follows.\n\n    expected 1 to be 2`,
        expect.stringContaining('attempt=2'),
      ]);
      expect(stateOf(id)).toMatchObject({ status: 'in_progress', assignee: `cellpool-${POOL}/${id}` });
    });

    test('nothing is said to a bead that somebody else has', async () => {
      const id = tracker.create('theirs', '-a', 'anna');
      expect(await write(id, ATTEMPT)).toMatchObject({ how: 'lost' });
      expect(tracker.comments(id)).toEqual([]);
    });
  });

  describe('the work is done', () => {
    test('the bead is closed with a reason that names the commit, once', async () => {
      const id = await claimed('do it');
      expect(await write(id, DONE)).toEqual({ how: 'written' });
      expect(tracker.show(id)).toMatchObject({
        status: 'closed',
        close_reason: 'Done by cellpool: commit c0ffee0123 on branch cellpool/x.',
      });
      expect(await write(id, DONE)).toEqual({ how: 'known' });
    });

    test('what waited for it is ready, whatever words branch and ids are made of', async () => {
      const id = await claimed('first');
      const next = tracker.create('next');
      tracker.bd('dep', 'add', next, id);
      await write(id, { ...DONE, branch: 'cellpool/fix-timeout-error' });
      expect(tracker.show(id).close_reason).toBe('Done by cellpool: commit c0ffee0123.');
      expect(await source.ready(signal)).toContain(next);
    });

    test('what was closed by somebody else stays as they closed it', async () => {
      const id = await claimed('closed by hand');
      tracker.bd('close', id, '--reason', 'not needed after all', '--force');
      expect(await write(id, DONE)).toEqual({ how: 'lost', reason: `${id} is closed: not needed after all` });
    });

    test('what somebody else has taken is left to them', async () => {
      const id = await claimed('taken away');
      tracker.bd('update', id, '--assignee', 'anna', '--force');
      expect(await write(id, DONE)).toMatchObject({ how: 'lost' });
      expect(stateOf(id)).toMatchObject({ status: 'in_progress', assignee: 'anna' });
    });

    test('what nobody has any more is closed all the same: it would be done twice', async () => {
      const id = await claimed('reclaimed');
      tracker.bd('update', id, '--assignee', '', '--status', 'open', '--force');
      expect(await write(id, DONE)).toEqual({ how: 'written' });
      expect(stateOf(id).status).toBe('closed');
    });

    test('one with an open child is not closed by force: a comment and a label say so, once', async () => {
      const id = await claimed('parent');
      const child = tracker.create('child', '--parent', id);
      const refused = await write(id, DONE);
      expect(refused).toMatchObject({ how: 'refused', reason: expect.stringMatching(/child/) });
      expect(stateOf(id)).toEqual({
        status: 'in_progress',
        assignee: `cellpool-${POOL}/${id}`,
        labels: ['cellpool-not-closed'],
      });
      expect(tracker.comments(id)).toEqual([expect.stringContaining('commit c0ffee0123 on branch cellpool/x')]);
      expect(await write(id, DONE)).toMatchObject({ how: 'refused' });
      expect(tracker.comments(id)).toHaveLength(1);
      expect(stateOf(child).status).toBe('open');
    });
  });

  describe('the work waits for its landing', () => {
    test('the bead stays claimed with a label, which goes when it is closed', async () => {
      const id = await claimed('lands later', '-l', 'agent');
      const awaiting: News = { ...DONE, kind: 'awaiting-landing' };
      expect(await write(id, awaiting)).toEqual({ how: 'written' });
      expect(await write(id, awaiting)).toEqual({ how: 'known' });
      expect(stateOf(id)).toMatchObject({ status: 'in_progress', labels: ['agent', 'cellpool-awaiting-landing'] });
      expect(await write(id, DONE)).toEqual({ how: 'written' });
      expect(stateOf(id)).toMatchObject({ status: 'closed', labels: ['agent'] });
    });

    test('a bead whose work comes back stays claimed, without the label, and is told why', async () => {
      const id = await claimed('comes back', '-l', 'agent');
      await write(id, { ...DONE, kind: 'awaiting-landing' });
      expect(await write(id, { kind: 'claim' })).toEqual({ how: 'written' });
      const message = 'it could not land on main: a.txt';
      expect(await write(id, { kind: 'attempt', attempt: 1, outcome: 'committed', message })).toEqual({
        how: 'written',
      });
      expect(stateOf(id)).toMatchObject({ status: 'in_progress', labels: ['agent'] });
    });
  });

  describe('the task has ended otherwise', () => {
    test.each<[News, string, RegExp]>([
      [
        FAILED,
        'cellpool-failed',
        /Given up after attempt 3, which ended reverted\..*\n\n {4}tests failed\n {4}red\n {4}# end$/,
      ],
      [
        { ...DONE, kind: 'not-landed', message: 'it did not land on main: expected 3' },
        'cellpool-not-landed',
        /stays on its branch: .*\n\n {4}it did not land on main: expected 3$/,
      ],
      [{ kind: 'unchanged', attempt: 1 }, 'cellpool-no-changes', /without changing anything/],
      [{ kind: 'cancelled', message: 'by anna' }, 'cellpool-cancelled', /Cancelled\. .*\n\n {4}by anna$/],
    ])('%j: the bead is released, with the reason and a label, once', async (news, label, said) => {
      const id = await claimed('end', '-l', 'agent');
      expect(await write(id, news)).toEqual({ how: 'written' });
      const released = { status: 'open', assignee: null, labels: ['agent', label].sort() };
      expect(stateOf(id)).toEqual(released);
      expect(await write(id, news)).toEqual({ how: 'known' });
      expect(stateOf(id)).toEqual(released);
      expect(tracker.comments(id)).toEqual([expect.stringMatching(said)]);
      expect(await source.ready(signal)).not.toContain(id);
      tracker.bd('label', 'remove', id, label);
      expect(await source.ready(signal)).toContain(id);
    });

    test("before it was begun: the bead is labelled, and is nobody's", async () => {
      const id = tracker.create('never begun');
      expect(await write(id, { kind: 'cancelled', message: '' })).toEqual({ how: 'written' });
      expect(stateOf(id)).toEqual({ status: 'open', assignee: null, labels: ['cellpool-cancelled'] });
    });

    test('a bead that somebody else has, or has closed, is left alone', async () => {
      const theirs = await claimed('taken away');
      tracker.bd('update', theirs, '--assignee', 'anna', '--force');
      const closed = await claimed('closed');
      tracker.bd('close', closed, '--reason', 'by hand', '--force');
      for (const id of [theirs, closed]) {
        const before = tracker.show(id);
        expect(await write(id, FAILED)).toMatchObject({ how: 'lost' });
        expect(tracker.show(id)).toEqual(before);
      }
    });

    test('of a task that follows an earlier one it is told as well, though their notes are called the same', async () => {
      const id = await claimed('twice in vain');
      await write(id, FAILED);
      tracker.bd('label', 'remove', id, 'cellpool-failed');
      const second = `${id}-g2`;
      expect(await write(id, { kind: 'claim' }, second)).toEqual({ how: 'written' });
      expect(await write(id, FAILED, second)).toEqual({ how: 'written' });
      expect(await write(id, FAILED, second)).toEqual({ how: 'known' });
      expect(tracker.comments(id)).toEqual([
        expect.stringContaining(`[cellpool pool=${POOL} job=${id} `),
        expect.stringContaining(`[cellpool pool=${POOL} job=${second} `),
      ]);
    });

    test('a status that a person gave it meanwhile stays', async () => {
      const id = await claimed('wait');
      tracker.bd('update', id, '--status', 'deferred');
      expect(await write(id, FAILED)).toEqual({ how: 'written' });
      expect(stateOf(id)).toMatchObject({ status: 'deferred', assignee: null });
    });

    test('of a very long message the end is kept', async () => {
      const id = await claimed('long');
      await write(id, { ...FAILED, message: `${'x\n'.repeat(100_000)}the end` } as News);
      const [text = ''] = tracker.comments(id);
      expect(text.length).toBeLessThan(30_000);
      expect(text).toMatch(/characters left out\][\s\S]*the end$/);
    });
  });

  test.each<News>([{ kind: 'claim' }, FAILED, DONE, { ...DONE, kind: 'awaiting-landing' }])(
    'a bead that is gone is refused: %j',
    async news => {
      const id = await claimed('to be deleted');
      tracker.bd('delete', id, '--force');
      expect(await write(id, news)).toMatchObject({ how: 'refused', reason: expect.stringContaining('no bead') });
      expect(await write('--help', news)).toMatchObject({ how: 'refused' });
    },
  );

  test('beads are looked at as they stand, closed ones too, and missing ones are left out', async () => {
    const id = await claimed('seen');
    const done = await claimed('seen done');
    await write(done, DONE);
    expect(await source.look([id, done, 'p-nosuch', '-x'], signal)).toEqual(
      new Map([
        [id, { title: 'seen', status: 'in_progress', assignee: `cellpool-${POOL}/${id}` }],
        [done, { title: 'seen done', status: 'closed', assignee: `cellpool-${POOL}/${done}` }],
      ]),
    );
    expect(await source.look([], signal)).toEqual(new Map());
  });

  test('the tracker is known by its project, wherever it is asked from', async () => {
    const project = (tracker.bd('context') as { project_id: string }).project_id;
    expect(source.identity).toBe(`beads:${project}`);
    const elsewhere = { ...tracker.env, BEADS_DIR: join(tracker.folder, '.beads') };
    const other = makeRepository(join(folder, 'other'));
    expect((await open({ repository: other, env: elsewhere })).identity).toBe(source.identity);
  });

  test('a repository without a tracker is told to have one made', async () => {
    await expect(open({ repository: join(folder, 'home') })).rejects.toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      exitCode: 3,
      hint: expect.stringContaining('bd init'),
    });
  });

  test('the repository itself is not touched, and no hook is written', async () => {
    const before = [pictureOf(tracker.folder, ['.git', '.beads']), refsOf(tracker.folder)];
    const id = await claimed('leave the rest alone');
    await write(id, DONE);
    expect([pictureOf(tracker.folder, ['.git', '.beads']), refsOf(tracker.folder)]).toEqual(before);
  });
});
