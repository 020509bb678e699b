import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { InvalidInput } from '../../../src/errors.ts';
import { MARK_FILE } from '../../../src/producer/folder/folder-identity.ts';
import { FolderSource } from '../../../src/producer/folder/folder-source.ts';
import { tempFolder } from '../../support/repository.ts';
import { CLAIM, DONE, openFolder, SIGNAL } from './support.ts';

const FIX = '---\ntitle: Fix the login\n---\n\nThe login takes an empty password.\n';

/** What is told of an item that cannot be worked, as `where: what`. */
async function faultsOf(source: FolderSource, item: string): Promise<string[]> {
  const error = await source.read(item, SIGNAL).then(
    () => null,
    thrown => thrown,
  );
  if (!(error instanceof InvalidInput)) throw new Error(`no faults were told, but ${error}`);
  return error.faults.map(({ where, what }) => `${where}: ${what}`);
}

describe('what is ready', () => {
  test('is every Markdown file that is open and nobody has, by priority and then by name', async () => {
    const { source } = await openFolder({
      'b.md': FIX,
      'a.markdown': 'Just a prompt, and no front matter.\n',
      'late.md': '---\npriority: 9\nstatus: open\n---\nLater.\n',
      'soon.md': '---\npriority: 1\n---\nSoon.\n',
      'done.md': '---\nstatus: done\n---\nDone.\n',
      'draft.md': '---\nstatus: draft\n---\nNot yet.\n',
      'hers.md': '---\nassignee: ann\n---\nHers.\n',
      'README.md': 'About this folder.\n',
      '_template.md': FIX,
      '.hidden.md': FIX,
      'notes.txt': 'no item',
      'sub/inner.md': FIX,
    });
    expect(await source.ready(SIGNAL)).toEqual(['a', 'b', 'soon', 'late']);
  });

  test('is what a person has opened again, though they left the name of its task there', async () => {
    const { source, tell, text, put } = await openFolder({ 'fix.md': FIX });
    await tell('fix', CLAIM);
    await tell('fix', DONE);
    expect(await source.ready(SIGNAL)).toEqual([]);
    put({ 'fix.md': text('fix.md').replace('status: done', 'status: open') });
    expect(text('fix.md')).toMatch(/\nassignee: .*\bfix\n/);
    expect(await source.ready(SIGNAL)).toEqual(['fix']);
    expect((await source.read('fix', SIGNAL))?.task.title).toBe('Fix the login');
    expect(await tell('fix', { ...CLAIM, taskId: 'fix-g2' })).toEqual({ how: 'written' });
    expect(text('fix.md')).toMatch(/\nstatus: working\nassignee: .*\bfix-g2\n/);
  });

  test('waits for what it depends on, until all of that is done', async () => {
    const { source, put } = await openFolder({
      'last.md': '---\ndependsOn: [first, second.md]\n---\nLast.\n',
      'first.md': '---\nstatus: done\n---\nFirst.\n',
      'second.md': '---\nstatus: failed\n---\nSecond.\n',
      'alone.md': '---\ndependsOn: first\n---\nAlone.\n',
    });
    expect(await source.ready(SIGNAL)).toEqual(['alone']);
    expect(await source.read('last', SIGNAL)).toBeNull();
    put({ 'second.md': '---\nstatus: done\n---\nSecond.\n' });
    expect(await source.ready(SIGNAL)).toEqual(['alone', 'last']);
  });

  test('tells of names that are none and of circles, and leaves what waits for a faulty file waiting', async () => {
    const { source } = await openFolder({
      'lost.md': '---\ndependsOn: [nowhere]\n---\nLost.\n',
      'self.md': '---\ndependsOn: self\n---\nSelf.\n',
      'one.md': '---\ntitle: One\ndependsOn: [two]\n---\nOne.\n',
      'two.md': '---\ndependsOn: [three]\n---\nTwo.\n',
      'three.md': '---\ndependsOn: [one]\n---\nThree.\n',
      'behind.md': '---\ndependsOn: [broken]\n---\nBehind.\n',
      'broken.md': '---\n{\n---\nBroken.\n',
    });
    expect(await source.ready(SIGNAL)).toEqual(['broken', 'lost', 'one', 'self', 'three', 'two']);
    expect(await faultsOf(source, 'lost')).toEqual([
      'lost.md:2: "dependsOn" names "nowhere", and there is no such file',
    ]);
    expect(await faultsOf(source, 'self')).toEqual(['self.md:2: "dependsOn" goes in a circle: self, self']);
    expect(await faultsOf(source, 'one')).toEqual(['one.md:3: "dependsOn" goes in a circle: one, two, three, one']);
    expect(await source.read('behind', SIGNAL)).toBeNull();
  });
});

describe('a task', () => {
  test('has the body as its prompt, and the title and limits of the front matter where they are allowed', async () => {
    const { source } = await openFolder(
      {
        'fix.md':
          '---\ntitle: Fix the login\nbase: develop\npriority: 2\nmodel: a/b\ntokenBudget: 9\ntest: npm test\n---\n\nDo.\n\n---\n\nMore.\n',
      },
      { allowedKeys: ['model', 'budget', 'test'] },
    );
    expect(await source.read('fix', SIGNAL)).toEqual({
      task: {
        ...{ title: 'Fix the login', base: 'develop', priority: 2, model: 'a/b', tokenBudget: 9, test: 'npm test' },
        ...{ prompt: 'Do.\n\n---\n\nMore.', metadata: { source: 'folder', item: 'fix' } },
      },
      remarks: [],
    });
  });

  test('has no command, model or limit that the operator does not allow, and says so with its line', async () => {
    const { source } = await openFolder({
      'fix.md': '---\ntest: rm -rf /\nmodel: a/b\nattempts: 50\nagent: build\ntags: [x]\n---\nDo.\n',
    });
    const found = await source.read('fix', SIGNAL);
    expect(found?.task).toEqual({ title: 'Do.', prompt: 'Do.', metadata: { source: 'folder', item: 'fix' } });
    expect(found?.remarks).toEqual([
      'fix.md:2: "test" is not honoured, for --allow-keys does not name test',
      'fix.md:3: "model" is not honoured, for --allow-keys does not name model',
      'fix.md:4: "attempts" is not honoured, for --allow-keys does not name budget',
      'fix.md:5: "agent" is not honoured, for --allow-keys does not name agent',
      'fix.md:6: key "tags" is not known and does nothing',
    ]);
  });

  test.each([
    ['# Add a cache\n\nOf pages.\n', 'Add a cache'],
    ['\n\nAdd a cache\nof pages\n', 'Add a cache'],
    ['---\ntitle:\n---\n###   Add a cache  \n', 'Add a cache'],
    ['---\ntitle: Named\n---\n# Other\n', 'Named'],
    ['---\n---\n#\n', 'fix'],
  ])('is called by its title or its first line: %j', async (text, title) => {
    const { source } = await openFolder({ 'fix.md': text });
    expect((await source.read('fix', SIGNAL))?.task.title).toBe(title);
  });

  test.each([
    ['---\ntitle: x\n', ['fix.md:1: begins a front matter that no second line "---" ends']],
    ['---\ntitle: [x\n---\nDo.\n', [expect.stringMatching(/^fix\.md:[23]: /)]],
    ['---\na: 1\nb: 2\na: 3\n---\nDo.\n', ['fix.md:4: key "a" stands twice, first in line 2']],
    ['---\n- a\n- b\n---\nDo.\n', ['fix.md:2: the front matter must be keys and values']],
    [
      '---\nbase: a..b\ndepends_on: x\nstatus: 5\n---\nDo.\n',
      [
        'fix.md:3: key "depends_on" is written "dependsOn"',
        'fix.md:4: "status" must be text',
        'fix.md:2: "base" is not a branch name that git accepts',
      ],
    ],
    ['---\ntitle: x\n---\n\n  \n', ['fix.md:4: "prompt" may not be empty']],
    ['---\ndependsOn: [1, {}]\n---\nDo.\n', ['fix.md:2: "dependsOn" must be names of files']],
  ])('is refused with every fault and its line: %j', async (text, faults) => {
    const { source } = await openFolder({ 'fix.md': text });
    expect(await source.ready(SIGNAL)).toEqual(['fix']);
    expect(await faultsOf(source, 'fix')).toEqual(faults);
  });

  test('of a file that is none is a fault, and no pipe, link or giant is read', async () => {
    const { source, folder } = await openFolder({
      'big.md': 'x'.repeat(1024 * 1024 + 1),
      'two.md': 'a',
      'two.markdown': 'b',
    });
    symlinkSync('/etc/passwd', join(folder, 'link.md'));
    execFileSync('mkfifo', [join(folder, 'pipe.md')]);
    writeFileSync(join(folder, 'latin.md'), Buffer.from([0x66, 0xfc, 0x72]));
    expect(await source.ready(SIGNAL)).toEqual(['big', 'latin', 'link', 'pipe', 'two']);
    expect(await faultsOf(source, 'big')).toEqual(['big.md: is larger than 1 MiB']);
    expect(await faultsOf(source, 'link')).toEqual(['link.md: is a symbolic link, which is not followed']);
    expect(await faultsOf(source, 'pipe')).toEqual(['pipe.md: is no file']);
    expect(await faultsOf(source, 'latin')).toEqual(['latin.md: is not written in UTF-8']);
    expect(await faultsOf(source, 'two')).toEqual(['two.markdown: has the same name as two.md']);
  });

  test.each(['../secret', '/etc/passwd', 'a/b', '..', '', '.cellpool-id'])(
    'of a name that is none is refused: %j',
    async name => {
      const { source } = await openFolder({});
      await expect(source.read(name, SIGNAL)).rejects.toThrow('is no name of an item');
      const note = { ...CLAIM, item: name, taskId: 'x', key: 'claim:0' } as const;
      expect(await source.write(note, SIGNAL)).toMatchObject({ how: 'refused' });
    },
  );

  test('that is gone, taken or done meanwhile is not to be worked', async () => {
    const { source } = await openFolder({
      'a.md': '---\nassignee: ann\n---\nA.\n',
      'b.md': '---\nstatus: done\n---\nB.\n',
    });
    expect(await Promise.all(['a', 'b', 'c'].map(item => source.read(item, SIGNAL)))).toEqual([null, null, null]);
  });
});

test('items are shown as they stand, and those that are gone are left out', async () => {
  const { source, tell } = await openFolder({ 'a.md': FIX, 'b.md': '---\n[\n---\n' });
  await tell('a', CLAIM);
  const states = await source.look(['a', 'b', 'c'], SIGNAL);
  expect(Object.fromEntries(states)).toEqual({
    a: { title: 'Fix the login', status: 'working', assignee: 'cellpool-k3x9/a' },
    b: { title: 'b', status: 'faulty', assignee: null },
  });
});

describe('which folder it is', () => {
  test('is the same for every bridge and at any time, and another for a copy or another path', async () => {
    const { folder, source } = await openFolder({ 'a.md': FIX });
    const [one, two] = await Promise.all([openFolder({}, { folder }), openFolder({}, { folder })]);
    expect([one.source.identity, two.source.identity]).toEqual([source.identity, source.identity]);
    const elsewhere = tempFolder('copy');
    execFileSync('cp', ['-a', `${folder}/.`, elsewhere]);
    expect((await openFolder({}, { folder: elsewhere })).source.identity).not.toBe(source.identity);
  });

  test('is agreed on by bridges that begin at once', async () => {
    const folder = tempFolder('folder');
    const opened = await Promise.all(Array.from({ length: 8 }, () => FolderSource.open({ folder })));
    expect(new Set(opened.map(({ identity }) => identity)).size).toBe(1);
    expect(readdirSync(folder)).toEqual([MARK_FILE]);
  });

  test('is not written down by a look alone', async () => {
    const folder = tempFolder('folder');
    const { source } = await openFolder({}, { folder, readOnly: true });
    expect(source.identity).toContain(folder);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is missed when the drive is not mounted: nothing is gone then', async () => {
    const { source, folder, tell } = await openFolder({ 'a.md': FIX });
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
    await expect(source.ready(SIGNAL)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    await expect(tell('a', DONE)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    renameSync(folder, `${folder}-away`);
    await expect(source.look(['a'], SIGNAL)).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    renameSync(`${folder}-away`, folder);
  });

  test('is not guessed when its mark was changed', async () => {
    const { folder } = await openFolder({});
    writeFileSync(join(folder, MARK_FILE), 'mine\n');
    await expect(FolderSource.open({ folder })).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
  });

  test('is bad input when there is none', async () => {
    const { folder } = await openFolder({ 'a.md': FIX });
    await expect(FolderSource.open({ folder: join(folder, 'none') })).rejects.toThrow('there is no such folder');
    await expect(FolderSource.open({ folder: join(folder, 'a.md') })).rejects.toThrow('is no folder');
  });
});

test('what a crash left half-written is removed when it is old, and nothing else', async () => {
  const { folder, put } = await openFolder({ 'a.md': FIX });
  put({ 'a.md.0123abcd.new': 'old', 'a.md.4567cdef.new': 'young', 'my.new': 'mine' });
  for (const name of ['a.md.0123abcd.new', 'my.new']) utimesSync(join(folder, name), 1, 1);
  await openFolder({}, { folder });
  expect(readdirSync(folder).sort()).toEqual([MARK_FILE, 'a.md', 'a.md.4567cdef.new', 'my.new']);
});

test('a file keeps its permissions', async () => {
  const { folder, tell } = await openFolder({ 'a.md': FIX });
  chmodSync(join(folder, 'a.md'), 0o640);
  expect(await tell('a', CLAIM)).toEqual({ how: 'written' });
  expect(statSync(join(folder, 'a.md')).mode & 0o7777).toBe(0o640);
});
