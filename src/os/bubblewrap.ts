/**
 * What a program sees when bubblewrap starts it: namespaces of its own, no capability, and only the files of a `View`.
 * The order of bubblewrap's options is the order in which it mounts, so a folder comes before what lies in it.
 */

import type { Argv } from './leash.ts';

/** The world as an enclosed program sees it. All paths are absolute, without symbolic links. */
export interface View {
  /** What it takes for the name of its host. */
  hostname: string;
  cwd: string;
  /** `host`: all of the host's files, read-only, but for what is hidden. `minimal`: nothing but what is readable. */
  root: 'host' | 'minimal';
  /** Folders of the host that are shown empty, unless something in them is readable or writable. */
  hidden: readonly string[];
  /** Files whose content is not shown. */
  blanked: readonly string[];
  /** Files and folders; one that is missing is passed over. */
  readable: readonly string[];
  writable: readonly string[];
  /** Links of the minimal root: on most systems `/bin` is one to `usr/bin`. */
  links: readonly { at: string; to: string }[];
  /** A folder that stands in for `/tmp` and `/var/tmp`; null: an empty one in memory, not to be written to. */
  temp: string | null;
  /** Sockets of the host, and where they are found. */
  sockets: readonly { from: string; at: string }[];
  network: 'host' | 'none';
  /** Whom the program takes itself for; null: who we are. Files that are ours stay its own. */
  uid: number | null;
}

const NAMESPACES = ['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'];
/** Of `/dev/shm`, whose files lie in memory: no limit on disk holds there, and the kernel's own is half of all memory. */
const SHARED_MEMORY_BYTES = 256 * 1024 * 1024;
/** Folders for everybody, which an enclosed program gets of its own. */
export const TEMPORARY: readonly string[] = ['/tmp', '/var/tmp'];

/**
 * `argv` as bubblewrap starts it. SIGTERM to the group is for the program: bubblewrap itself would end by it at once,
 * and the kernel would then kill the program before it could tidy up. So bubblewrap ignores it, and `env` undoes that.
 */
export function bubblewrapped(tools: { bwrap: string; env: string }, argv: readonly string[], view: View): Argv {
  const { hidden } = view;
  const mounts = [
    ...hidden.map(path => ({ path, options: ['--tmpfs', path] })),
    ...view.blanked.map(path => ({ path, options: ['--ro-bind-try', '/dev/null', path] })),
    ...TEMPORARY.map(path => ({ path, options: view.temp === null ? ['--tmpfs', path] : ['--bind', view.temp, path] })),
    ...view.readable.map(path => ({ path, options: ['--ro-bind-try', path, path] })),
    ...view.writable.map(path => ({ path, options: ['--bind', path, path] })),
  ].sort((one, other) => depthOf(one.path) - depthOf(other.path));
  const root =
    view.root === 'host'
      ? ['--ro-bind', '/', '/']
      : ['--tmpfs', '/', ...view.links.flatMap(({ at, to }) => ['--symlink', to, at])];
  // What was put into a hidden folder to lead to something shown stays; nothing more is to be written there.
  // /proc too: settings of the kernel may be written by whoever is root outside, whatever he has lost in here.
  const closed = [
    '/dev',
    '/proc',
    ...hidden,
    ...(view.temp === null ? TEMPORARY : []),
    ...(view.root === 'minimal' ? ['/'] : []),
  ];
  return [
    tools.env,
    ...['--ignore-signal=TERM', tools.bwrap],
    ...[...NAMESPACES, '--disable-userns', '--die-with-parent', '--cap-drop', 'ALL', '--hostname', view.hostname],
    ...(view.network === 'none' ? ['--unshare-net'] : []),
    ...(view.uid === null ? [] : ['--uid', String(view.uid), '--gid', String(view.uid)]),
    ...[...root, '--dev', '/dev', '--size', String(SHARED_MEMORY_BYTES), '--tmpfs', '/dev/shm', '--proc', '/proc'],
    ...mounts.flatMap(({ options }) => options),
    ...view.sockets.flatMap(({ from, at }) => ['--ro-bind', from, at]),
    ...closed.flatMap(path => ['--remount-ro', path]),
    ...['--chdir', view.cwd, '--', tools.env, '--default-signal=TERM', ...argv],
  ];
}

const depthOf = (path: string) => path.split('/').length;
