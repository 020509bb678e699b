/**
 * What a cell's programs are kept in: the host as the site's isolation shows it, the cell's own folders, and where the
 * level says so a network of their own with one port in and a short list of hosts out.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Host } from '../config.ts';
import type { Source } from '../git/source.ts';
import type { Logger } from '../observe/logger.ts';
import { TEMPORARY } from '../os/bubblewrap.ts';
import type { Isolation } from '../os/isolation.ts';
import type { Argv } from '../os/leash.ts';
import { openPassage, RELAY } from '../os/passage/passage.ts';
import type { WorkspaceKind } from './agent-git.ts';
import type { CellFolders } from './environment.ts';
import { pathBehind, standInsOf } from './stand-ins.ts';

/** What all cells of a site have in common. Absolute paths without symbolic links. */
export interface Grounds {
  readonly isolation: Isolation;
  readonly hidden: readonly string[];
  readonly readable: readonly string[];
  /** The folder that comes first on `PATH`. */
  readonly standIns: string;
  /** What all cells may change: nothing, unless somebody asked for that. */
  readonly writable?: readonly string[];
}

/**
 * Of the pool and of the user's repository cells see nothing; they borrow the objects of the pool's mirror. Cells in
 * worktrees see, and may change, the repository's git folder.
 */
export function groundsOf(
  isolation: Isolation,
  { home, source, objects }: { home: string; source: Pick<Source, 'path' | 'gitDir'>; objects: string },
  readable: readonly string[],
  workspace: WorkspaceKind = 'clone',
): Grounds {
  const standIns = standInsOf(home);
  const writable = workspace === 'worktree' ? [source.gitDir] : [];
  const hidden = [home, source.path, source.gitDir].filter(path => !writable.includes(path));
  return { isolation, hidden, readable: [objects, standIns, ...readable], standIns, writable };
}

/**
 * The source, for a worker whose cells may write to its git folder: programs of the worker's that have to do with what
 * lies there run where they can change nothing else, as far as the isolation allows.
 */
export function guarded(source: Source, { isolation, hidden, readable }: Grounds): Source {
  if (isolation.level === 'process') return source;
  const common = { id: 'git', cwd: '/', hidden, temp: null, sockets: [] };
  return {
    ...source,
    enclose: (argv, open = {}) =>
      isolation.enclose(argv, {
        ...common,
        readable: [...readable, ...(open.readable ?? [])],
        writable: [source.gitDir, ...(open.writable ?? [])],
      }),
  };
}

export interface EnclosedCell {
  cellId: string;
  cwd: string;
  folders: CellFolders;
  /** The cell's own folder, for what is needed while something runs in it; null when it has none. */
  dir: string | null;
  /** Hosts that may be called, where the level restricts it. */
  allowed: readonly Host[];
  /** Further files and folders that may be read. */
  readable?: readonly string[];
  /** The Python environment that its programs are to use; left out or null: there is none. */
  python?: string | null;
  /** On which a server is to be reached from outside; left out: there is none. */
  port?: number;
}

export interface Enclosure {
  /** `argv` as it is to be started. */
  wrap(argv: Argv): Argv;
  /** Variables by which programs find one another, and their way out. */
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/** Opens an enclosure; the caller closes it when all that runs in it has ended. @throws when the port cannot be bound */
export async function openEnclosure(grounds: Grounds, cell: EnclosedCell, log: Logger): Promise<Enclosure> {
  const { isolation } = grounds;
  const { cellId, cwd, folders, dir, allowed, port = null } = cell;
  // Without folders of its own a command works where everybody's temporary files are, and is to see none of them.
  const isOwn = (path: string) => !TEMPORARY.includes(path);
  const place = {
    id: cellId,
    cwd,
    hidden: grounds.hidden,
    readable: [...grounds.readable, ...(cell.readable ?? [])],
    writable: [...new Set([cwd, folders.home, folders.temp, ...(grounds.writable ?? [])])].filter(isOwn),
    temp: isOwn(folders.temp) ? folders.temp : null,
    sockets: [],
  };
  const { python = null } = cell;
  const path = {
    PATH: pathBehind(grounds.standIns, python === null ? [] : [join(python, 'bin')]),
    ...(python === null ? {} : { VIRTUAL_ENV: python }),
  };
  if (isolation.level !== 'strict' || dir === null || (allowed.length === 0 && port === null)) {
    return { wrap: argv => isolation.enclose(argv, place), env: path, close: async () => undefined };
  }
  const { sockets, argv, env, close } = await openPassage({
    folder: join(dir, `passage-${randomBytes(4).toString('hex')}`),
    allowed,
    port,
    onRefused: target => log.warn({ target }, 'the cell called a host that it may not call'),
  });
  const inside = { ...place, sockets, readable: [...place.readable, RELAY] };
  return { wrap: program => isolation.enclose([...argv, ...program], inside), env: { ...env, ...path }, close };
}
