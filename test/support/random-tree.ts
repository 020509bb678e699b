/** Random trees as hostile people commit them, and random edits as hostile agents make them. */
import { mkdirSync, readdirSync } from 'node:fs';
import fc from 'fast-check';
import { type BytePath, bytePath, bytesOf } from './byte-tree.ts';
import { gitWith } from './repository.ts';

export type Content = { text: string } | { bytes: number[] };
export type Entry =
  | { kind: 'file'; content: Content; executable: boolean }
  | { kind: 'link'; to: string }
  /** A commit of another repository, as a submodule has it. */
  | { kind: 'submodule' };

export interface BaseFile {
  path: BytePath;
  entry: Entry;
}

/** `at` names a path of the base by its number, or one that need not exist. */
export type Place = { at: number } | { path: BytePath };
export type Edit =
  | { do: 'write'; place: Place; content: Content; mode: number }
  | { do: 'link'; place: Place; to: string }
  | { do: 'folder'; place: Place }
  | { do: 'remove'; place: Place }
  | { do: 'rename'; place: Place; to: BytePath }
  | { do: 'hard link'; place: Place }
  | { do: 'repository'; place: Place; how: 'unborn' | 'with a commit' | 'elsewhere' | 'a link' | 'broken' }
  | { do: 'pipe'; place: Place }
  | { do: 'git'; how: (typeof ON_GIT)[number] }
  /** Made last, since whoever is not root could do nothing more there. */
  | { do: 'lock'; place: Place | null; mode: number };

export const ON_GIT = ['gone', 'a file', 'a link', 'config', 'hooks', 'info', 'index', 'head', 'objects'] as const;

const PLAIN = ['a.txt', 'b.c', 'sub', 'deep', 'x.log', 'ignored', 'run.sh', 'node_modules'];
const ODD = [
  ...['A.TXT', 'SUB', 'line\nbreak', 'tab\there', `it's "quoted"`, '-rf', '--help', '-', ' ', 'end ', '*', '[x]', '?'],
  ...[':(top)y', ':!a', '\\', 'a\\b', '#x', '!x', '~', '$HOME', '%00', 'con', '.hidden', '...', '.gitx', 'HEAD'],
  ...['.git-rewrite', 'gitdir:', '\u001b[31m', '\r', '\u007f', 'é', 'e\u0301', '\u{1f98a}', '\u202e', 'n'.repeat(200)],
].map(bytePath);
/** No UTF-8: a Latin-1 name, half a character, what decodes to the same as another. */
const BYTES = ['caf\xe9', '\xff\xfe', '\xc3', 'x\x80', 'x\x81', '\xed\xa0\x80'];
/** Special to git, so that what is written there changes how everything else is read. */
const SPECIAL = ['.gitignore', '.gitattributes', '.gitmodules', '.lfsconfig'];
/** Names that git refuses to take for anything but its own. */
const FORBIDDEN = ['.GIT', '.Git', 'git~1', '.git\u200c', '.git '].map(bytePath);

/** Those of all names that files can have here: some systems know no bytes but text, or no case. */
export function namesKept(folder: string): { names: BytePath[]; left: BytePath[] } {
  const all = [...PLAIN, ...ODD, ...BYTES, ...SPECIAL, ...FORBIDDEN];
  for (const name of all) {
    try {
      mkdirSync(bytesOf(`${bytePath(folder)}/${name}`));
    } catch {
      // It is not found again below.
    }
  }
  const found = new Set(readdirSync(folder, { encoding: 'buffer' }).map(name => name.toString('latin1')));
  return { names: all.filter(name => found.has(name)), left: all.filter(name => !found.has(name)) };
}

const LINES = ['', 'one\n', 'one\r\ntwo\r\n', 'one\r\ntwo\n', 'no end', '/* $Id$ */\n', '/* $Id: 123 $ */\r\n', 'é\n'];
const RULES = [
  ...['* text=auto\n', '*.txt text eol=crlf\n', '*.txt text\n*.c ident\n', '* -text\n', '* eol=lf\n', '* binary\n'],
  ...['* filter=lfs diff=lfs merge=lfs -text\n', '* filter=evil diff=evil merge=evil\n', '* export-ignore\n'],
  ...['*\n', '*.log\nignored/\n', '!*\n', '[attr]x text eol=crlf\n*.txt x\n', '/sub/\n', '* ident\n'],
  ...['[lfs]\n\turl = https://lfs.invalid/\n', '[submodule "x"]\n\tpath = sub\n\turl = ext::sh -c true\n'],
];
const content: fc.Arbitrary<Content> = fc.oneof(
  fc.record({ text: fc.constantFrom(...LINES) }),
  fc.record({ text: fc.constantFrom(...RULES) }),
  fc.record({ bytes: fc.array(fc.nat(255), { maxLength: 40 }) }),
);
const TARGETS = [
  'nowhere',
  '/etc',
  '/etc/passwd',
  '..',
  '../..',
  '.',
  '.git',
  '.git/config',
  '.git/hooks',
  'a.txt',
  'sub',
];
const target = fc.constantFrom(...TARGETS, '/nonexistent/x', 'x'.repeat(300), bytePath('é'), 'caf\xe9', '-rf', ' ');
const fileMode = fc.constantFrom(0o644, 0o755, 0o600, 0o444, 0o4755);
const lockMode = fc.constantFrom(0o000, 0o500, 0o555, 0o777, 0o1777, 0o400);

const pathOf = (names: readonly BytePath[], maxLength: number) =>
  fc
    .array(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...PLAIN, ...SPECIAL) }, fc.constantFrom(...names)), {
      minLength: 1,
      maxLength,
    })
    .map(parts => parts.join('/'));

/** What is committed. Of two that cannot both be there the later stays. */
export function baseTree(names: readonly BytePath[]): fc.Arbitrary<BaseFile[]> {
  const allowed = names.filter(name => !FORBIDDEN.includes(name));
  const file = fc.record({ kind: fc.constant('file' as const), content, executable: fc.boolean() });
  const link = fc.record({ kind: fc.constant('link' as const), to: target });
  const entry: fc.Arbitrary<Entry> = fc.oneof(
    { weight: 8, arbitrary: file },
    { weight: 2, arbitrary: link },
    { weight: 1, arbitrary: fc.constant({ kind: 'submodule' as const }) },
  );
  // Git checks out no link that it would take for settings of its own.
  const committed = fc
    .record({ path: pathOf(allowed, 3), entry })
    .filter(one => one.entry.kind !== 'link' || !one.path.includes('.gitmodules'));
  return fc.array(committed, { minLength: 1, maxLength: 14 });
}

export function edits(names: readonly BytePath[]): fc.Arbitrary<Edit[]> {
  const path = pathOf(names, 3);
  const place: fc.Arbitrary<Place> = fc.oneof(fc.record({ at: fc.nat(40) }), fc.record({ path }));
  const edit = <K extends Edit['do']>(name: K) => ({ do: fc.constant(name), place });
  return fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.record({ ...edit('write'), content, mode: fileMode }) },
      { weight: 2, arbitrary: fc.record({ ...edit('link'), to: target }) },
      { weight: 2, arbitrary: fc.record(edit('folder')) },
      { weight: 3, arbitrary: fc.record(edit('remove')) },
      { weight: 2, arbitrary: fc.record({ ...edit('rename'), to: path }) },
      { weight: 1, arbitrary: fc.record(edit('hard link')) },
      {
        weight: 2,
        arbitrary: fc.record({
          ...edit('repository'),
          how: fc.constantFrom('unborn', 'with a commit', 'elsewhere', 'a link', 'broken'),
        }),
      },
      { weight: 1, arbitrary: fc.record(edit('pipe')) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('git' as const), how: fc.constantFrom(...ON_GIT) }) },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('lock' as const), place: fc.option(place), mode: lockMode }),
      },
    ) as fc.Arbitrary<Edit>,
    { maxLength: 16 },
  );
}

export const bytesOfContent = (content: Content): Buffer =>
  'text' in content ? Buffer.from(content.text) : Buffer.from(content.bytes);

/** Commits the tree on `main`, byte by byte and without a work tree: no attribute and no setting has a say. */
export function commitTree(repository: string, files: readonly BaseFile[]): void {
  const parts = ['commit refs/heads/main\n', 'committer Test <test@example.com> 1700000000 +0000\n', 'data 1\nx\n'];
  const stream: Buffer[] = parts.map(part => Buffer.from(part));
  for (const { path, entry } of files) {
    const quoted = `"${[...bytesOf(path)].map(byte => `\\${byte.toString(8).padStart(3, '0')}`).join('')}"`;
    if (entry.kind === 'submodule') {
      stream.push(Buffer.from(`M 160000 ${'1'.repeat(40)} ${quoted}\n`));
      continue;
    }
    const isLink = entry.kind === 'link';
    const data = isLink ? bytesOf(entry.to) : bytesOfContent(entry.content);
    const mode = isLink ? '120000' : entry.executable ? '100755' : '100644';
    stream.push(Buffer.from(`M ${mode} inline ${quoted}\ndata ${data.length}\n`), data, Buffer.from('\n'));
  }
  gitWith(Buffer.concat(stream), repository, 'fast-import', '--quiet', '--force');
}
