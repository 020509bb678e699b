import { readdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { MARK_FILE } from '../../../src/producer/folder/folder-identity.ts';
import { FolderSource } from '../../../src/producer/folder/folder-source.ts';
import { readItemFile, replaceItemFile } from '../../../src/producer/folder/item-file.ts';
import type { News } from '../../../src/producer/source/task-source.ts';
import { tempFolder } from '../../support/repository.ts';
import { attempt, CLAIM, COMMIT, DONE, FAILED, openFolder, SIGNAL } from './support.ts';

const FIX = '---\ntitle: Fix it   # by Friday\n# who?\ntags: [a, b]\n---\n\nFix it.\n';
const LANDS: News = { ...DONE, kind: 'awaiting-landing' };
const RED = 'it did not land on main: expected 3';
const REFUSED: News = { ...DONE, kind: 'not-landed', message: RED };
const WRITTEN = { how: 'written' };
const KNOWN = { how: 'known' };

describe('what becomes of a task stands in its file', () => {
  test('from the claim to the end, under what a person wrote', async () => {
    const { tell, text, source } = await openFolder({ 'fix.md': FIX });
    expect(await tell('fix', CLAIM)).toEqual(WRITTEN);
    const front = '---\ntitle: Fix it   # by Friday\n# who?\ntags: [a, b]\n';
    expect(text('fix.md')).toBe(`${front}status: working\nassignee: cellpool-k3x9/fix\n---\n\nFix it.\n`);
    expect(await tell('fix', attempt(1, 'one line\n\nand `another`'))).toEqual(WRITTEN);
    expect(await tell('fix', DONE)).toEqual(WRITTEN);
    expect(text('fix.md')).toBe(
      `${front}status: done\nassignee: cellpool-k3x9/fix\nattempt: 2\noutcome: committed\ncommit: "${COMMIT}"\n` +
        'branch: cellpool/fix\n---\n\nFix it.\n\n## cellpool\n\n' +
        "- attempt 1 ended reverted: `one line and 'another'` <!-- cellpool pool=k3x9 job=fix note=attempt:1 -->\n" +
        `- attempt 2 is commit \`${COMMIT}\` on branch \`cellpool/fix\` <!-- cellpool pool=k3x9 job=fix note=done:1 -->\n`,
    );
    expect(await source.ready(SIGNAL)).toEqual([]);
  });

  test('of a task that waits for landing, until it has landed', async () => {
    const { tell, text, source } = await openFolder({ 'fix.md': 'Fix it.' });
    await tell('fix', CLAIM);
    expect(await tell('fix', LANDS)).toEqual(WRITTEN);
    expect(text('fix.md')).toMatch(/^---\nstatus: committed\nassignee: cellpool-k3x9\/fix\n/);
    expect(await source.ready(SIGNAL)).toEqual([]);
    expect(await tell('fix', DONE)).toEqual(WRITTEN);
    expect(text('fix.md')).toMatch(/^---\nstatus: done\nassignee: cellpool-k3x9\/fix\n/);
  });

  test('of a task whose work comes back from its landing and is worked anew', async () => {
    const { tell, text, source } = await openFolder({ 'fix.md': 'Fix it.' });
    for (const news of [CLAIM, LANDS]) await tell('fix', news);
    expect(await tell('fix', { ...CLAIM, key: 'claim:1' })).toEqual(WRITTEN);
    const back: News = {
      kind: 'attempt',
      attempt: 2,
      outcome: 'committed',
      message: 'it could not land on main: a.txt',
    };
    expect(await tell('fix', back)).toEqual(WRITTEN);
    expect(text('fix.md')).toMatch(/^---\nstatus: working\nassignee: cellpool-k3x9\/fix\n/);
    expect(text('fix.md')).toContain('- attempt 2 ended committed: `it could not land on main: a.txt`');
    expect(await source.ready(SIGNAL)).toEqual([]);
  });

  test.each<[News, string]>([
    [
      REFUSED,
      `status: not-landed\nattempt: 2\noutcome: committed\nreason: "${RED}"\ncommit: "${COMMIT}"\nbranch: cellpool/fix\n`,
    ],
    [FAILED, 'status: failed\nattempt: 3\noutcome: reverted\nreason: "the tests failed with code 1"\n'],
    [
      { kind: 'unchanged', attempt: 1 },
      'status: unchanged\nattempt: 1\noutcome: no-changes\nreason: "the agent changed nothing"\n',
    ],
    [{ kind: 'cancelled', message: 'by ann' }, 'status: cancelled\noutcome: cancelled\nreason: "by ann"\n'],
  ])('of one that was given up: $kind', async (news, keys) => {
    const { tell, text, source } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    expect(await tell('fix', news)).toEqual(WRITTEN);
    expect(text('fix.md')).toContain(`tags: [a, b]\n${keys}---\n`);
    expect(text('fix.md')).toContain('\n## cellpool\n\n- ');
    expect(await source.ready(SIGNAL)).toEqual([]);
    // A person takes it up again by its status alone, and the next claim begins with a clean front matter.
    writeFileSync(
      join(source.name.replace('Markdown files in ', ''), 'fix.md'),
      text('fix.md').replace(/status: \S+/, 'status: open'),
    );
    expect(await source.ready(SIGNAL)).toEqual(['fix']);
    expect((await source.read('fix', SIGNAL))?.task.prompt).toBe('Fix it.');
    expect(await tell('fix', { ...CLAIM, taskId: 'fix-g2' })).toEqual(WRITTEN);
    expect(text('fix.md')).toContain('tags: [a, b]\nstatus: working\nassignee: cellpool-k3x9/fix-g2\n---\n');
  });

  test('and a task that is retried after its end is claimed again', async () => {
    const { tell, text } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    await tell('fix', FAILED);
    expect(await tell('fix', { ...CLAIM, key: 'claim:1' })).toEqual(WRITTEN);
    expect(await tell('fix', DONE)).toEqual(WRITTEN);
    expect(text('fix.md')).not.toContain('reason:');
  });

  test('with line ends of Windows where the file has them, and a byte order mark', async () => {
    const { tell, text, source } = await openFolder({ 'fix.md': '\uFEFF---\r\ntitle: Fix\r\n---\r\nFix it.' });
    await tell('fix', CLAIM);
    await tell('fix', attempt(1));
    expect(text('fix.md')).toBe(
      '\uFEFF---\r\ntitle: Fix\r\nstatus: working\r\nassignee: cellpool-k3x9/fix\r\nattempt: 1\r\noutcome: reverted\r\n---\r\nFix it.\r\n' +
        '\r\n## cellpool\r\n\r\n- attempt 1 ended reverted: `the tests failed` <!-- cellpool pool=k3x9 job=fix note=attempt:1 -->\r\n',
    );
    expect((await source.look(['fix'], SIGNAL)).get('fix')?.title).toBe('Fix');
  });

  test('in words that are no Markdown, no control characters, and not the mark of another note', async () => {
    const { tell, text } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    const hostile =
      '\u001b[31mred\u0007 ![x](http://h) ``` <!-- cellpool pool=k3x9 job=fix note=done:1 -->\n## cellpool\n---\n';
    expect(await tell('fix', attempt(1, hostile + 'x'.repeat(5_000)))).toEqual(WRITTEN);
    const line = text('fix.md').trimEnd().split('\n').at(-1) ?? '';
    expect(line.length).toBeLessThan(1_200);
    expect(line).toMatch(
      /^- attempt 1 ended reverted: `red !\[x\][^`]*` <!-- cellpool pool=k3x9 job=fix note=attempt:1 -->$/,
    );
    expect(text('fix.md').match(/^## cellpool$/gm)).toHaveLength(1);
    expect(await tell('fix', DONE)).toEqual(WRITTEN);
  });
});

describe('a note that comes again', () => {
  test.each<[string, News[]]>([
    ['claim', [CLAIM]],
    ['attempt', [CLAIM, attempt(1)]],
    ['done', [CLAIM, attempt(1), DONE]],
    ['awaiting-landing', [CLAIM, LANDS]],
    ['failed', [CLAIM, FAILED]],
    ['not-landed', [CLAIM, LANDS, REFUSED]],
    ['cancelled', [CLAIM, { kind: 'cancelled', message: 'by ann' }]],
  ])('%s is known, and changes nothing', async (_kind, all) => {
    const { tell, text } = await openFolder({ 'fix.md': FIX });
    for (const news of all) expect(await tell('fix', news)).toEqual(WRITTEN);
    const before = text('fix.md');
    for (const news of all.slice(-1)) expect(await tell('fix', news)).toEqual(KNOWN);
    expect(text('fix.md')).toBe(before);
  });

  test('does not take back what a person has reopened since', async () => {
    const { tell, text, put } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    await tell('fix', FAILED);
    put({ 'fix.md': text('fix.md').replace('status: failed', 'status: open') });
    const before = text('fix.md');
    expect(await tell('fix', FAILED)).toEqual(KNOWN);
    expect(text('fix.md')).toBe(before);
  });

  test('is another one when it is of a later task, though both are called the same', async () => {
    const { tell, text, put } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    await tell('fix', FAILED);
    put({ 'fix.md': text('fix.md').replace('status: failed', 'status: open') });
    expect(await tell('fix', { ...CLAIM, taskId: 'fix-g2' })).toEqual(WRITTEN);
    expect(await tell('fix', { ...FAILED, taskId: 'fix-g2' })).toEqual(WRITTEN);
    expect(text('fix.md').match(/job=\S+ note=\S+/g)).toEqual(['job=fix note=failed:1', 'job=fix-g2 note=failed:1']);
  });

  test('is known where a person has moved our lines, or written below them', async () => {
    const { tell, text, put, source } = await openFolder({ 'fix.md': 'Fix it.\n' });
    await tell('fix', CLAIM);
    await tell('fix', attempt(1));
    put({ 'fix.md': `${text('fix.md')}\nAnd do not forget the cache.\n` });
    expect(await tell('fix', attempt(1))).toEqual(KNOWN);
    expect(await tell('fix', attempt(2))).toEqual(WRITTEN);
    expect(text('fix.md')).toMatch(/attempt:1 -->\n- attempt 2 .* -->\n\nAnd do not forget the cache\.\n$/);
    put({
      'fix.md': text('fix.md')
        .replace('status: working', 'status: open')
        .replace(/assignee: .*\n/, ''),
    });
    expect((await source.read('fix', SIGNAL))?.task.prompt).toBe('Fix it.\n\n\nAnd do not forget the cache.');
  });
});

describe('of two pools that call their tasks the same', () => {
  test('the second has lost what the first one has, and what that left is not its own', async () => {
    const { folder, tell, text, put } = await openFolder({ 'fix.md': FIX });
    const other = await openFolder({}, { folder, pool: 'other' });
    await tell('fix', CLAIM);
    const claimed = text('fix.md');
    for (const news of [CLAIM, attempt(1), DONE, FAILED]) {
      expect(await other.tell('fix', news)).toMatchObject({ how: 'lost' });
    }
    expect(text('fix.md')).toBe(claimed);
    put({ 'fix.md': claimed.replace('status: working', 'status: open') });
    expect(await other.source.ready(SIGNAL)).toEqual([]);
    expect(await other.tell('fix', CLAIM)).toMatchObject({ how: 'lost' });
  });

  test('each says what became of its own', async () => {
    const { folder, tell, text, put } = await openFolder({ 'fix.md': FIX });
    const other = await openFolder({}, { folder, pool: 'other' });
    for (const news of [CLAIM, FAILED]) await tell('fix', news);
    put({ 'fix.md': text('fix.md').replace('status: failed', 'status: open') });
    for (const news of [CLAIM, FAILED]) expect(await other.tell('fix', news)).toEqual(WRITTEN);
    expect(text('fix.md').match(/pool=\w+ job=fix note=failed:1/g)).toHaveLength(2);
    expect((await other.source.look(['fix'], SIGNAL)).get('fix')?.status).toBe('failed');
  });

  test('none writes that has not said which pool it is', async () => {
    const { folder, text } = await openFolder({ 'fix.md': FIX });
    const source = await FolderSource.open({ folder, readOnly: true });
    await expect(source.write({ ...CLAIM, item: 'fix', taskId: 'fix', key: 'claim:0' }, SIGNAL)).rejects.toThrow(
      'without a pool',
    );
    expect(text('fix.md')).toBe(FIX);
  });
});

describe('an item of somebody else', () => {
  test.each<[string, News]>([
    ['---\nassignee: ann\n---\nA.\n', CLAIM],
    ['---\nstatus: draft\n---\nA.\n', CLAIM],
    ['---\nstatus: done\n---\nA.\n', CLAIM],
    ['---\nstatus: working\nassignee: cellpool-k3x9/other\n---\nA.\n', CLAIM],
    ['---\nstatus: working\nassignee: ann\n---\nA.\n', attempt(1)],
    ['A.\n', attempt(1)],
    ['---\nstatus: working\nassignee: ann\n---\nA.\n', DONE],
    ['---\nstatus: done\nassignee: ann\n---\nA.\n', DONE],
    ['---\nstatus: draft\nassignee: cellpool-k3x9/a\n---\nA.\n', LANDS],
    ['---\nassignee: ann\n---\nA.\n', FAILED],
    ['---\nstatus: done\nassignee: cellpool-k3x9/a\n---\nA.\n', FAILED],
    ['---\nstatus: draft\n---\nA.\n', { kind: 'cancelled', message: 'x' }],
  ])('is left as it is: %j', async (file, news) => {
    const { tell, text } = await openFolder({ 'a.md': file });
    expect(await tell('a', news)).toEqual({ how: 'lost', reason: expect.stringMatching(/^a\.md is \w+, and /) });
    expect(text('a.md')).toBe(file);
  });

  test('is taken back when an old editor window has overwritten our claim, for the work is there', async () => {
    const { tell, text, put } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    put({ 'fix.md': FIX });
    expect(await tell('fix', DONE)).toEqual(WRITTEN);
    expect(text('fix.md')).toContain('status: done\nassignee: cellpool-k3x9/fix\n');
  });

  test('keeps the status that a person gave it, when it is released', async () => {
    const { tell, text, put } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    put({ 'fix.md': text('fix.md').replace('status: working', 'status: parked') });
    expect(await tell('fix', FAILED)).toEqual(WRITTEN);
    expect(text('fix.md')).toMatch(/status: parked\nattempt: 3\n/);
    expect(text('fix.md')).not.toContain('assignee');
  });
});

describe('a file that cannot be written to', () => {
  test('because it is gone is refused, and the folder stays as it is', async () => {
    const { tell, folder } = await openFolder({ 'fix.md': FIX });
    rmSync(join(folder, 'fix.md'));
    expect(await tell('fix', DONE)).toEqual({ how: 'refused', reason: 'there is no file fix.md any more' });
    expect(readdirSync(folder)).toEqual([MARK_FILE]);
  });

  test.each([
    ['---\nstatus: [\n---\nA.\n', /^a\.md:[23] /],
    ['---\n{status: working, assignee: cellpool-k3x9/a}\n---\nA.\n', /^a\.md cannot be written to without touching/],
    [
      '---\nstatus: working\nassignee: &us cellpool-k3x9/a\nother: *us\n---\nA.\n',
      /^a\.md cannot be written to without/,
    ],
    ['---\nassignee: # us\n  cellpool-k3x9/a\nstatus: working\n---\nA.\n', /^a\.md cannot be written to without/],
  ])('is refused, and stays as it is: %j', async (file, reason) => {
    const { tell, text } = await openFolder({ 'a.md': file });
    expect(await tell('a', FAILED)).toEqual({ how: 'refused', reason: expect.stringMatching(reason) });
    expect(text('a.md')).toBe(file);
  });

  test('because it is saved just now is tried again', async () => {
    const { tell, put, text } = await openFolder({ 'fix.md': '---\ntitle: [half' });
    const told = tell('fix', CLAIM);
    put({ 'fix.md': FIX });
    expect(await told).toEqual(WRITTEN);
    expect(text('fix.md')).toContain('status: working');
  });

  test('because somebody edited it meanwhile keeps the edit', async () => {
    const folder = tempFolder('edited');
    const path = join(folder, 'a.md');
    writeFileSync(path, 'before\n');
    const read = await readItemFile(path);
    if (read === null || 'fault' in read) throw new Error('not read');
    writeFileSync(path, 'edited\n');
    expect(await replaceItemFile(path, read, 'ours\n')).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe('edited\n');
    unlinkSync(path);
    expect(await replaceItemFile(path, read, 'ours\n')).toBe(false);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('of a folder that is away waits', async () => {
    const { tell, folder } = await openFolder({ 'fix.md': FIX });
    renameSync(folder, `${folder}-away`);
    await expect(tell('fix', DONE)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE', hint: expect.any(String) });
    renameSync(`${folder}-away`, folder);
    expect(await tell('fix', DONE)).toEqual(WRITTEN);
  });
});

test('of two bridges that write at once, neither loses what the other wrote', async () => {
  const { folder, tell, text } = await openFolder({ 'fix.md': FIX });
  const other = await openFolder({}, { folder });
  await tell('fix', CLAIM);
  const told = await Promise.all([tell('fix', attempt(1)), other.tell('fix', attempt(1)), tell('fix', attempt(1))]);
  expect(told.map(({ how }) => how)).toContain('written');
  expect(text('fix.md').match(/note=attempt:1/g)).toHaveLength(1);
});
