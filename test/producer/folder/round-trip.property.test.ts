/** Whatever a person writes, our notes change nothing of it: what is taken out of the file again gives it back. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { withKeys } from '../../../src/producer/folder/front-edit.ts';
import { partsOf, readFront, textOf } from '../../../src/producer/folder/front-matter.ts';
import { type Item, itemIn } from '../../../src/producer/folder/item.ts';
import { type Change, changeOf } from '../../../src/producer/folder/item-notes.ts';
import { withLine, withoutSection } from '../../../src/producer/folder/log-section.ts';
import { OWN_KEYS } from '../../../src/producer/folder/names.ts';
import type { Note } from '../../../src/producer/source/task-source.ts';

const isForeign = (key: string) => !(OWN_KEYS as readonly string[]).includes(key);
const key = fc.stringMatching(/^[A-Za-z][A-Za-z0-9 _.-]{0,8}[A-Za-z0-9]$/).filter(isForeign);
const words = fc.string({ unit: 'grapheme', maxLength: 40 });
const { value } = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 3 },
    words,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.constant('two\nlines\n\n'),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3 }),
  ),
}));

/** Front matter as people write it: any values, comments and empty lines between and behind them, indented or not. */
const front = fc
  .record({
    entries: fc.uniqueArray(fc.tuple(key, value), { maxLength: 5, selector: ([name]) => name }),
    between: fc.array(fc.constantFrom('# a comment', '', '#'), { maxLength: 3 }),
    behind: fc.constantFrom('', '  # why'),
    indent: fc.constantFrom('', '  '),
  })
  .map(({ entries, between, behind, indent }) => {
    const lines = entries.flatMap(([name, one], at) => {
      const text = stringify({ [name]: one }, { lineWidth: 0 }).trimEnd();
      const isOneLine = !text.includes('\n');
      return [...(between[at] === undefined ? [] : [between[at]]), isOneLine ? `${text}${behind}` : text];
    });
    return lines.flatMap(text => text.split('\n')).map(text => (text === '' ? '' : `${indent}${text}`));
  });

const line = fc.oneof(
  words.map(text => text.replace(/[\r\n]/g, '')),
  fc.constantFrom('---', '## cellpool', '', '```', '- a <!-- comment -->', '# Heading', 'status: open'),
);
const file = fc
  .record({
    front: fc.option(front),
    body: fc.array(line, { maxLength: 8 }),
    eol: fc.constantFrom('\n', '\r\n'),
    mark: fc.constantFrom('', '\uFEFF'),
    isEnded: fc.boolean(),
  })
  .map(({ front, body, eol, mark, isEnded }) => {
    // Without a front matter, a first line `---` would begin one.
    const text = front === null ? ['Text.', ...body] : ['---', ...front, '---', ...body];
    return `${mark}${text.join(eol)}${isEnded || body.length === 0 ? eol : ''}`;
  })
  .filter(text => {
    const parts = partsOf(text);
    return parts !== null && readFront(parts, 'a.md', []) !== null;
  });

const about = { item: 'a', taskId: 'a' };
const message = fc.oneof(
  words,
  fc.constant('-->\n## cellpool\n- x <!-- cellpool pool=k3x9 job=a note=end:1 -->\n---\n'),
);
const notes = fc
  .tuple(fc.integer({ min: 0, max: 3 }), message, fc.integer({ min: 0, max: 4 }))
  .map(([tries, said, end]): Note[] => [
    { ...about, kind: 'claim', key: 'claim:0' },
    ...Array.from(
      { length: tries },
      (_, at): Note => ({
        ...{ ...about, kind: 'attempt', key: `attempt:${at + 1}`, attempt: at + 1, outcome: 'reverted', message: said },
      }),
    ),
    [
      { ...about, kind: 'done' as const, key: 'end:1', attempt: 1, commit: '1e10', branch: 'cellpool/a' },
      { ...about, kind: 'failed' as const, key: 'end:1', attempt: 1, outcome: 'reverted', message: said },
      { ...about, kind: 'unchanged' as const, key: 'end:1', attempt: 1 },
      { ...about, kind: 'cancelled' as const, key: 'end:1', message: said },
      { ...about, kind: 'not-landed' as const, key: 'end:1', attempt: 1, commit: '1e10', branch: 'b', message: said },
    ][end] as Note,
  ]);

function read(text: string): Item {
  const item = itemIn('a', 'a.md', text);
  if (Array.isArray(item)) throw new Error(`faulty: ${JSON.stringify(item)}`);
  return item as Item;
}

function apply(item: Item, { keys, line: added }: Change): string {
  const parts = withKeys(item.parts, keys);
  if (parts === null) throw new Error('cannot be changed');
  return textOf(added === null ? parts : { ...parts, body: withLine(parts.body, added.what, added.mark, parts.eol) });
}

/** The text without our keys and our section. */
function withoutOurs(text: string): string {
  const parts = partsOf(text);
  if (parts === null) throw new Error('no parts');
  const keys = new RegExp(`^ *(${OWN_KEYS.join('|')}): .*\\r?\\n`);
  const lines = parts.front.split(/(?<=\n)/).filter(one => !keys.test(one));
  return textOf({ ...parts, front: lines.join(''), body: withoutSection(parts.body) });
}

test('any body and any foreign keys survive all that is written of a task, to the byte', () => {
  fc.assert(
    fc.property(file, notes, (text, all) => {
      let now = text;
      const before = read(text);
      for (const note of all) {
        const item = read(now);
        const change = changeOf(item, 'k3x9', note);
        if (change.how !== 'change') throw new Error(`${note.kind}: ${JSON.stringify(change)}`);
        now = apply(item, change);
        // Told again, it is known.
        expect(changeOf(read(now), 'k3x9', note)).toEqual({ how: 'known' });
      }
      const after = read(now);
      const foreign = ({ front: { values } }: Item) => Object.entries(values).filter(([name]) => isForeign(name));
      expect(foreign(after)).toEqual(foreign(before));
      const isNew = before.parts.open === '';
      const left = withoutOurs(now);
      const back = isNew ? left.replace(/---\r?\n---\r?\n/, '') : left;
      // A last line without an end got one, and an empty line stands between the text and the section.
      expect(back.startsWith(text)).toBe(true);
      expect(back.slice(text.length).trim()).toBe('');
    }),
    { numRuns: 60 },
  );
});
