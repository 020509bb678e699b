/**
 * The rule of the floors (docs/architecture.md), as a function over file texts: imports point down, or sideways
 * inside one folder, never up and never in a circle, types included. Texts are parsed, not searched, so that a
 * comment or a string is never taken for an import.
 */
import { dirname, join, normalize } from 'node:path/posix';
import { parseAst } from 'vitest/node';

export interface Breach {
  file: string;
  line: number;
  what: string;
}

interface Import {
  line: number;
  /** null when the argument of `import()` is no plain text. */
  from: string | null;
  names: string[];
  /** Whether what it names is loaded before the file itself runs: neither types nor `import()` are. */
  atStart: boolean;
}

interface SourceFile {
  path: string;
  imports: Import[];
  exits: number[];
  awaitUsing: number[];
}

/** Floor by room; a room is the first name below src. */
const FLOORS: Record<string, number> = {
  'errors.ts': 0,
  'config.ts': 0,
  config: 0,
  job: 1,
  redis: 1,
  git: 1,
  os: 1,
  observe: 1,
  cell: 2,
  landing: 2,
  producer: 3,
  worker: 3,
  board: 3,
  cli: 4,
};

/** Rooms on these floors may import one another; above, a room stands alone beside its neighbours. */
const OPEN_FLOORS = new Set([0, 1]);

const INDEX = 'src/index.ts';

/**
 * Every breach in `files` (path from the project's root, with `/` -> text).
 * @param packages Names that may be imported besides Node's own; left out: any.
 */
export function findBreaches(files: ReadonlyMap<string, string>, packages?: ReadonlySet<string>): Breach[] {
  const parsed = [...files].map(([path, text]) => parse(path, text));
  const breaches = parsed.flatMap(file => [
    ...placeBreaches(file),
    ...file.imports.flatMap(one =>
      importBreaches(file, one, files, packages).map(what => ({ file: file.path, line: one.line, what })),
    ),
    ...exitBreaches(file),
    ...file.awaitUsing.map(line => ({
      file: file.path,
      line,
      what: '`await using` is not used in src: a plain `return x()` beside it tears down before x has run; use the cleanup stack',
    })),
  ]);
  return [...breaches, ...circleBreaches(parsed)];
}

/** Files over `most` lines, which are usually two files. */
export function longFiles(files: ReadonlyMap<string, string>, most = 250): { path: string; lines: number }[] {
  return [...files]
    .map(([path, text]) => ({ path, lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0) }))
    .filter(file => file.lines > most);
}

/** The files of `files`, and the packages, that are loaded before `entry` itself runs. */
export function loadedAtStart(
  files: ReadonlyMap<string, string>,
  entry: string,
): { files: string[]; packages: string[] } {
  const loaded = new Set([entry]);
  const packages = new Set<string>();
  for (const path of loaded) {
    const text = files.get(path);
    if (text === undefined) throw new Error(`${path} is not there`);
    for (const { from, atStart } of parse(path, text).imports) {
      if (!atStart || from === null) continue;
      if (from.startsWith('.')) loaded.add(targetOf(path, from));
      else if (!from.startsWith('node:')) packages.add(from);
    }
  }
  return { files: [...loaded].sort(), packages: [...packages].sort() };
}

function roomOf(path: string): string {
  return path.split('/')[1] ?? '';
}

function placeBreaches(file: SourceFile): Breach[] {
  if (file.path === INDEX || FLOORS[roomOf(file.path)] !== undefined) return [];
  return [{ file: file.path, line: 1, what: `${roomOf(file.path)} stands on no floor` }];
}

function importBreaches(
  file: SourceFile,
  one: Import,
  files: ReadonlyMap<string, string>,
  packages?: ReadonlySet<string>,
): string[] {
  if (one.from === null) return ['import() of something that is not written out cannot be checked'];
  if (!one.from.startsWith('.')) return packageBreaches(one.from, packages);
  const target = targetOf(file.path, one.from);
  if (!target.startsWith('src/')) return [`reaches out of src, to ${target}`];
  if (!files.has(target)) return [`imports ${target}, which does not exist`];
  if (target === INDEX) return [`imports ${INDEX}, which is for users of the library only`];
  const [from, to] = [roomOf(file.path), roomOf(target)];
  if (file.path === INDEX) return to === 'cli' ? [`${INDEX} imports ${target}: the library has no command line`] : [];
  const [floor, below] = [FLOORS[from], FLOORS[to]];
  if (from === to || floor === undefined || below === undefined) return [];
  if (below > floor) return [`imports up: ${from} (floor ${floor}) imports ${target} (floor ${below})`];
  if (below === floor && !OPEN_FLOORS.has(floor)) return [`${from} imports its neighbour on floor ${floor}: ${target}`];
  return [];
}

function packageBreaches(from: string, packages?: ReadonlySet<string>): string[] {
  if (from.startsWith('node:') || packages === undefined) return [];
  const name = from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/');
  return packages.has(name) ? [] : [`imports ${name}, which is not among the dependencies in package.json`];
}

function exitBreaches(file: SourceFile): Breach[] {
  if (roomOf(file.path) === 'cli') return [];
  return file.exits.map(line => ({ file: file.path, line, what: 'process.exit outside src/cli' }));
}

function targetOf(path: string, from: string): string {
  return normalize(join(dirname(path), from));
}

/** One breach for each circle that a walk along the imports closes. */
function circleBreaches(parsed: SourceFile[]): Breach[] {
  const byPath = new Map(parsed.map(file => [file.path, file]));
  const done = new Set<string>();
  const breaches: Breach[] = [];
  const walk = (file: SourceFile, trail: string[]): void => {
    if (done.has(file.path)) return;
    const here = [...trail, file.path];
    for (const one of file.imports) {
      const target = one.from?.startsWith('.') ? targetOf(file.path, one.from) : '';
      const next = byPath.get(target);
      if (here.includes(target)) {
        const circle = [...here.slice(here.indexOf(target)), target].join(' -> ');
        breaches.push({ file: file.path, line: one.line, what: `closes a circle: ${circle}` });
      } else if (next !== undefined) {
        walk(next, here);
      }
    }
    done.add(file.path);
  };
  for (const file of parsed) walk(file, []);
  return breaches;
}

type Node = { type: string; start: number } & Record<string, unknown>;

function parse(path: string, text: string): SourceFile {
  const file: SourceFile = { path, imports: [], exits: [], awaitUsing: [] };
  const lineAt = (offset: number) => text.slice(0, offset).split('\n').length;
  visit(parseAst(text, { lang: 'ts' }), node => {
    const line = lineAt(node.start);
    if (SOURCE_TYPES.has(node.type) && isNode(node.source)) {
      file.imports.push({ line, from: literal(node.source), names: importedNames(node), atStart: isAtStart(node) });
    }
    if (node.type === 'VariableDeclaration' && node.kind === 'await using') file.awaitUsing.push(line);
    if (takesExit(node)) file.exits.push(line);
  });
  return file;
}

/** Node types with a `source`: import, export from, `import()`, and `import('x').Y` among types. */
const SOURCE_TYPES = new Set([
  'ImportDeclaration',
  'ExportNamedDeclaration',
  'ExportAllDeclaration',
  'ImportExpression',
  'TSImportType',
]);

function isAtStart(node: Node): boolean {
  if (node.type === 'ImportExpression' || node.type === 'TSImportType') return false;
  return node.importKind !== 'type' && node.exportKind !== 'type';
}

function visit(value: unknown, each: (node: Node) => void): void {
  if (Array.isArray(value)) for (const item of value) visit(item, each);
  else if (isNode(value)) {
    each(value);
    for (const inner of Object.values(value)) visit(inner, each);
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

function literal(node: Node): string | null {
  return node.type === 'Literal' && typeof node.value === 'string' ? node.value : null;
}

function importedNames(node: Node): string[] {
  const specifiers = Array.isArray(node.specifiers) ? node.specifiers : [];
  return specifiers.map(one => (isNode(one) && isNode(one.imported) ? String(one.imported.name) : '')).filter(Boolean);
}

/** `process.exit`, `process['exit']`, `const { exit } = process`, and `exit` imported from node:process. */
function takesExit(node: Node): boolean {
  if (node.type === 'MemberExpression') return isProcess(node.object) && nameOf(node.property) === 'exit';
  if (node.type === 'VariableDeclarator') return isProcess(node.init) && bindsExit(node.id);
  if (node.type !== 'ImportDeclaration' || !isNode(node.source)) return false;
  return /^(node:)?process$/.test(literal(node.source) ?? '') && importedNames(node).includes('exit');
}

/** Node's own `process`; a field of that name, such as `server.process`, is something else. */
function isProcess(value: unknown): boolean {
  if (!isNode(value)) return false;
  if (value.type !== 'MemberExpression') return nameOf(value) === 'process';
  return nameOf(value.property) === 'process' && ['globalThis', 'global'].includes(nameOf(value.object) ?? '');
}

function bindsExit(value: unknown): boolean {
  if (!isNode(value) || !Array.isArray(value.properties)) return false;
  return value.properties.some(property => isNode(property) && nameOf(property.key) === 'exit');
}

function nameOf(value: unknown): string | null {
  if (!isNode(value)) return null;
  return value.type === 'Identifier' ? String(value.name) : literal(value);
}
