/** What goes into git and comes out of it, as pure text: no process is started here. */

/** Mode of a tree entry that names a commit of another repository (a submodule). */
export const GITLINK = '160000';

/**
 * A path as git has it: bytes, which need not be text. Each is one character here, so that such a path can be compared
 * and put together like any string, and goes back to git as it came.
 */
export type GitPath = string;

/** For people, and for programs that know text only. */
export const pathText = (path: GitPath): string => pathBytes(path).toString('utf8');
export const pathBytes = (path: GitPath): Buffer => Buffer.from(path, 'latin1');

/** One path in which two trees differ. A side that does not exist has mode `000000`. */
export interface Change {
  /** A, D, M or T, as git says. */
  status: string;
  path: GitPath;
  oldMode: string;
  newMode: string;
  oldId: string;
  newId: string;
}

export interface IndexEntry {
  mode: string;
  id: string;
  path: GitPath;
}

/** Fields that each end in NUL. */
export function splitNul(text: string): string[] {
  const fields = text.split('\0');
  if (fields.at(-1) === '') fields.pop();
  return fields;
}

export const joinNul = (fields: readonly string[]): string => fields.map(field => `${field}\0`).join('');

/**
 * The arguments that list where two trees differ. A rename is a deletion and an addition, so both its names appear;
 * guessing at similarity would cost time and change nothing in the list.
 */
export function diffTree(from: string, to: string): string[] {
  return ['diff-tree', '-r', '-z', '--raw', '--no-abbrev', '--no-renames', from, to];
}

/** The same for a tree and the index; no file of a work tree is looked at. */
export function diffIndex(from: string): string[] {
  return ['diff-index', '--cached', '-r', '-z', '--raw', '--no-abbrev', '--no-renames', from];
}

/** Reads what `diffTree` makes git print: `:mode mode id id status NUL path NUL`. */
export function parseChanges(text: string): Change[] {
  const fields = splitNul(text);
  const changes: Change[] = [];
  for (let at = 0; at < fields.length; at += 2) {
    const path = fields[at + 1];
    const [oldMode, newMode, oldId, newId, status, more] = (fields[at] ?? '').split(' ');
    if (!oldMode?.startsWith(':') || !newMode || !oldId || !newId || !status || more !== undefined || !path) {
      throw new TypeError(`not a list of changes: ${JSON.stringify(fields.slice(at, at + 2))}`);
    }
    changes.push({ status, path, oldMode: oldMode.slice(1), newMode, oldId, newId });
  }
  return changes;
}

/** Lines a file gained and lost; null for a binary one. */
export interface LineCount {
  path: string;
  added: number | null;
  removed: number | null;
}

/** Reads `--numstat -z` without renames: `added TAB removed TAB path NUL`. */
export function parseLineCounts(text: string): LineCount[] {
  return splitNul(text).map(line => {
    const match = /^(\d+|-)\t(\d+|-)\t(.+)$/s.exec(line);
    if (!match?.[1] || !match[2] || !match[3]) throw new TypeError(`not a count of lines: ${JSON.stringify(line)}`);
    const count = (digits: string) => (digits === '-' ? null : Number(digits));
    return { path: match[3], added: count(match[1]), removed: count(match[2]) };
  });
}

/** Reads `ls-files -s -z`: `mode id stage TAB path NUL`. */
export function parseIndex(text: string): IndexEntry[] {
  return splitNul(text).map(line => {
    const match = /^(\d{6}) ([0-9a-f]+) \d\t(.+)$/s.exec(line);
    if (!match?.[1] || !match[2] || !match[3]) throw new TypeError(`not an index entry: ${JSON.stringify(line)}`);
    return { mode: match[1], id: match[2], path: match[3] };
  });
}

/** Input for `update-index -z --index-info`; an entry of mode `000000` is taken out of the index. */
export function indexInfo(entries: readonly IndexEntry[]): string {
  return joinNul(entries.map(entry => `${entry.mode === '000000' ? '0' : entry.mode} ${entry.id}\t${entry.path}`));
}

export interface Worktree {
  path: string;
  /** Short name; null when none is checked out. */
  branch: string | null;
  /** Its folder is gone, so that nobody works in it. */
  prunable: boolean;
}

/** Reads `worktree list --porcelain`, whose lines end in `end` (NUL with `-z`, else a line break). */
export function parseWorktrees(text: string, end: '\0' | '\n'): Worktree[] {
  return text
    .split(end + end)
    .map(block => block.split(end))
    .flatMap(lines => {
      const path = lines.find(line => line.startsWith('worktree '))?.slice('worktree '.length);
      if (path === undefined) return [];
      const ref = lines.find(line => line.startsWith('branch refs/heads/'));
      const branch = ref === undefined ? null : ref.slice('branch refs/heads/'.length);
      return [{ path, branch, prunable: lines.some(line => line === 'prunable' || line.startsWith('prunable ')) }];
    });
}

/**
 * A line of an exclude file that matches `path` and nothing else; a final `/` means a folder with all it holds.
 * A line break cannot be written there and bytes that are no text are unknown to us: those match any character.
 */
export function excludePattern(path: string): string {
  const escaped = path
    .replace(/[\\*?[]/g, '\\$&')
    .replace(/[\r\n]/g, '?')
    .replace(/\uFFFD+/g, '*')
    .replace(/ +$/, spaces => spaces.replaceAll(' ', '\\ '));
  return `/${escaped}`;
}

export interface RefMove {
  ref: string;
  to: string;
  /** null: the ref may not exist yet; left out: whatever it is now. */
  from?: string | null;
}

/** Input for `update-ref -z --stdin`: all moves or none. */
export function refTransaction(moves: readonly RefMove[]): string {
  return moves
    .map(({ ref, to, from }) => (from === null ? `create ${ref}\0${to}\0` : `update ${ref}\0${to}\0${from ?? ''}\0`))
    .join('');
}

const TRAILER = /^[A-Za-z][A-Za-z0-9-]*: \S/;

/**
 * The commit message with `trailers` as its last lines. Values become single lines, so none can forge another, and
 * lines of the same names that end the message already give way to ours.
 */
export function withTrailers(message: string, trailers: Readonly<Record<string, string>>): string {
  const paragraphs = message
    .replaceAll('\0', '')
    .trim()
    .split(/\n[^\S\n]*\n/);
  const last = paragraphs.at(-1)?.split('\n') ?? [];
  const kept: string[] = [];
  if (paragraphs.length > 1 && last.every(line => TRAILER.test(line))) {
    const ours = new Set(Object.keys(trailers).map(name => name.toLowerCase()));
    kept.push(...last.filter(line => !ours.has(line.slice(0, line.indexOf(':')).toLowerCase())));
    paragraphs.pop();
  }
  const added = Object.entries(trailers).map(([name, value]) => {
    if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(name)) throw new TypeError(`not a trailer's name: ${JSON.stringify(name)}`);
    return `${name}: ${value.replace(/[\s\p{Cc}]+/gu, ' ').trim()}`;
  });
  return `${[...paragraphs, [...kept, ...added].join('\n')].filter(part => part !== '').join('\n\n')}\n`;
}
