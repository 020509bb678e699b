/**
 * What `.gitattributes` files say of merging, for merges without a working copy: there git reads none of them, but the one
 * file `info/attributes` of the repository it merges in. All that would start a program, or has nothing to do with merging,
 * is left out; what is left means to git there what it means where the files lie.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diffTree, type GitPath, parseChanges } from '../git/commands.ts';
import { ownGitOk } from '../git/git.ts';

/** One `.gitattributes`, as bytes of which each is a character. */
export interface AttributesFile {
  /** That it lies in, from the top, which is empty. */
  folder: GitPath;
  text: string;
}

/** Those nearest to the top first; more than these are nobody's that one has in mind. */
const MOST_FILES = 1_000;
/** Bytes of all of them together. */
const MOST_BYTES = 4 * 1024 * 1024;
/** Characters; git passes over a line that has as many. */
const LONG_LINE = 2_048;

const NAME = '.gitattributes';
const MACRO = '[attr]';
const BLANK = /[ \t\r\n]+/;
const QUOTED = /^"((?:[^"\\]|\\(?:[abfnrtv"\\]|[0-3][0-7]{2}))*)"/;
const ESCAPES: Record<string, string> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
const ATTRIBUTE = /^([-!]?)([A-Za-z0-9_.][-A-Za-z0-9_.]*)(?:=(.*))?$/s;
/** What git merges by without a program of somebody's. By a driver of which it knows nothing it merges as text. */
const BUILT_IN: ReadonlySet<string> = new Set(['text', 'binary', 'union']);

/**
 * Has merges in the bare repository at `gitDir` go by the attributes of `tip`, which it must have.
 * @throws {CellpoolError} GIT_FAILED; the file system's error
 */
export async function takeMergeAttributes(gitDir: string, tip: string): Promise<void> {
  const text = mergeAttributes(await attributesFiles(gitDir, tip));
  if (text !== '') await writeFile(join(gitDir, 'info', 'attributes'), text, 'latin1');
}

/** The text of `info/attributes`. */
export function mergeAttributes(files: readonly AttributesFile[]): string {
  // Where two say something else of a path, git goes by the one nearer to it, and in one file by the last.
  const ordered = files.toSorted((a, b) => depthOf(a.folder) - depthOf(b.folder));
  const lines = ordered.flatMap(({ folder, text }) => linesOf(text).map(line => ({ folder, ...line })));
  // Elsewhere than at the top git lets nobody define one.
  const macros = new Set(lines.flatMap(({ folder, macro }) => (folder === '' && macro !== null ? [macro] : [])));
  const told = lines.flatMap(({ folder, pattern, macro, attributes }) => {
    const kept = attributes.flatMap(one => ofMerging(one, macros));
    if (macro !== null) return folder === '' ? [[MACRO + macro, ...kept]] : [];
    return kept.length === 0 ? [] : [[quoted(patternFromTop(folder, pattern)), ...kept]];
  });
  return told.map(words => `${words.join(' ')}\n`).join('');
}

const depthOf = (folder: GitPath) => (folder === '' ? 0 : folder.split('/').length);

interface Line {
  pattern: string;
  /** Its name; null: the line is none. */
  macro: string | null;
  attributes: Attribute[];
}

interface Attribute {
  sign: string;
  name: string;
  value: string | undefined;
}

/** Lines that git passes over are left out. */
function linesOf(text: string): Line[] {
  return text
    .replace(/^\xef\xbb\xbf/, '')
    .split('\n')
    .flatMap(line => parseLine(line) ?? []);
}

function parseLine(whole: string): Line | null {
  const [line = ''] = whole.replace(/^[ \t\r\n]+/, '').split('\0');
  if (line === '' || line.startsWith('#') || whole.length >= LONG_LINE) return null;
  const { pattern, rest } = patternOf(line);
  const attributes = rest
    .split(BLANK)
    .filter(word => word !== '')
    .map(attributeOf);
  if (!attributes.every(one => one !== null)) return null;
  if (pattern.startsWith(MACRO) && pattern !== MACRO) {
    const [macro = ''] = pattern.slice(MACRO.length).split(BLANK);
    return attributeOf(macro)?.name === macro ? { pattern, macro, attributes } : null;
  }
  // These exclude, which git does not have here, or match folders alone, which are not merged.
  if (pattern === '' || pattern.startsWith('!') || pattern.endsWith('/')) return null;
  return { pattern, macro: null, attributes };
}

function patternOf(line: string): { pattern: string; rest: string } {
  const [all, inside] = QUOTED.exec(line) ?? [];
  if (all !== undefined && inside !== undefined) {
    const plain = inside.replace(/\\([0-3][0-7]{2}|.)/gs, (_, code: string) =>
      code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (ESCAPES[code] ?? code),
    );
    return { pattern: plain, rest: line.slice(all.length) };
  }
  const [pattern = ''] = line.split(BLANK, 1);
  return { pattern, rest: line.slice(pattern.length) };
}

function attributeOf(word: string): Attribute | null {
  const [, sign = '', name, value] = ATTRIBUTE.exec(word) ?? [];
  return name === undefined ? null : { sign, name, value };
}

/** As it is to be written; nothing where it does not bear on merging. */
function ofMerging({ sign, name, value }: Attribute, macros: ReadonlySet<string>): string[] {
  if (name === 'merge') {
    if (sign !== '' || value === undefined) return [`${sign}merge`];
    return [`merge=${BUILT_IN.has(value) ? value : 'text'}`];
  }
  // `binary` is a macro of git's own. With a value one stands for nothing, but no other line counts then.
  if (name !== 'binary' && !macros.has(name)) return [];
  return [sign === '' && value !== undefined ? `${name}=none` : `${sign}${name}`];
}

/** A pattern that matches from the top what this one matches from `folder`. */
function patternFromTop(folder: GitPath, pattern: string): string {
  if (folder === '') return pattern;
  const literally = folder.replace(/[\\*?[]|^!/g, '\\$&');
  // Without a slash it is the name of a file, however deep.
  return pattern.includes('/') ? `${literally}/${pattern.replace(/^\//, '')}` : `${literally}/**/${pattern}`;
}

function quoted(pattern: string): string {
  const code = (character: string) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  return `"${pattern.replace(/["\\]/g, '\\$&').replace(/\p{Cc}/gu, code)}"`;
}

async function attributesFiles(gitDir: string, tip: string): Promise<AttributesFile[]> {
  const call = { gitDir, bytes: true };
  const nothing = (await ownGitOk(['hash-object', '-t', 'tree', '--stdin'], { ...call, input: '' })).trim();
  const found = await ownGitOk([...diffTree(nothing, tip), '--', `:(glob)**/${NAME}`], call);
  const all = parseChanges(found)
    // No link, which git would not follow, and no file of a folder of that name.
    .filter(({ path, newMode }) => newMode.startsWith('100') && `/${path}`.endsWith(`/${NAME}`))
    .map(({ path, newId }) => ({ folder: path.slice(0, -NAME.length).replace(/\/$/, ''), id: newId }))
    .toSorted((a, b) => depthOf(a.folder) - depthOf(b.folder))
    .slice(0, MOST_FILES);
  const texts = await textsOf(gitDir, new Set(all.map(({ id }) => id)));
  return all.flatMap(({ folder, id }) => {
    const text = texts.get(id);
    return text === undefined ? [] : [{ folder, text }];
  });
}

/** By id; those that are not there, or are too much, are left out. */
async function textsOf(gitDir: string, ids: ReadonlySet<string>): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  if (ids.size === 0) return texts;
  const ask = (args: string[], asked: Iterable<string>) =>
    ownGitOk(['cat-file', ...args], { gitDir, bytes: true, input: [...asked, ''].join('\n') });
  let left = MOST_BYTES;
  const sizes = (await ask(['--batch-check=%(objectname) %(objectsize)'], ids)).split('\n').flatMap(line => {
    const [, id = '', size = ''] = /^([0-9a-f]+) (\d+)$/.exec(line) ?? [];
    if (id === '' || Number(size) > left) return [];
    left -= Number(size);
    return [[id, Number(size)] as const];
  });
  if (sizes.length === 0) return texts;
  const found = await ask(
    ['--batch=%(objectname)'],
    sizes.map(([id]) => id),
  );
  let at = 0;
  for (const [id, size] of sizes) {
    // Its line, it, and a line break.
    at += id.length + 1;
    texts.set(id, found.slice(at, at + size));
    at += size + 1;
  }
  return texts;
}
