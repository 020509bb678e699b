/**
 * Where on this machine groups of processes might be made that the kernel bounds as a whole: Linux control groups.
 * Version 1 has a tree of its own for each controller, or for a few together; version 2 has one tree for all. What is
 * told here is read from texts only; whether it can be used is tried in `cgroup-probe.ts`.
 */
import { dirname, join } from 'node:path';

export const CONTROLLERS = ['memory', 'pids', 'cpu'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** A tree in which we may make groups. */
export interface Hierarchy {
  readonly version: 1 | 2;
  /** What it bounds for us. */
  readonly controllers: readonly Controller[];
  /** The group in which ours are made, as a folder. */
  readonly base: string;
}

export interface CgroupMount {
  readonly version: 1 | 2;
  /** Of version 1; version 2 tells them in each group. */
  readonly controllers: readonly Controller[];
  /** The group that the mount shows as its top. */
  readonly root: string;
  readonly folder: string;
}

/** The mounts of control groups in `/proc/self/mountinfo`. */
export function cgroupMounts(mountinfo: string): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of mountinfo.split('\n')) {
    const cut = line.indexOf(' - ');
    const [, , , root, folder] = line.slice(0, cut).split(' ');
    const [type, , options] = line.slice(cut + 3).split(' ');
    if (cut < 0 || root === undefined || folder === undefined) continue;
    const named = (options ?? '').split(',');
    const controllers = CONTROLLERS.filter(name => named.includes(name));
    if (type === 'cgroup2') mounts.push({ version: 2, controllers: [], root, folder });
    else if (type === 'cgroup' && controllers.length > 0) mounts.push({ version: 1, controllers, root, folder });
  }
  return mounts;
}

/**
 * Groups in which ours could be made, as folders, best first. In our own one, so that a limit set for us bounds our
 * cells too. In version 2 a group that holds processes may not have groups with limits below it, so there the groups
 * above ours follow, where ours become its neighbours. Empty when our own group is not known.
 */
export function candidates(mount: CgroupMount, selfCgroup: string): string[] {
  const own = ownPath(mount, selfCgroup);
  if (own === null) return [];
  const shown = own === mount.root || own.startsWith(mount.root.replace(/\/?$/, '/'));
  // A group outside of what the mount shows: in a container that sees the groups of its host by their paths.
  const folder = shown ? join(mount.folder, own.slice(mount.root.length)) : mount.folder;
  const found = [folder.replace(/(.)\/$/, '$1')];
  if (mount.version === 1) return found;
  for (let at = found[0] ?? ''; at !== mount.folder && at.startsWith(mount.folder); at = dirname(at)) {
    found.push(dirname(at));
  }
  return found;
}

function ownPath(mount: CgroupMount, selfCgroup: string): string | null {
  for (const line of selfCgroup.split('\n')) {
    const [, named = '', ...path] = line.split(':');
    const fits =
      mount.version === 2
        ? line.startsWith('0::')
        : mount.controllers.some(controller => named.split(',').includes(controller));
    if (fits) return path.join(':');
  }
  return null;
}

/** Folder among the groups of `base` that holds those of one state folder; people can tell from it which one. */
export function groupFolder(base: string, home: string, hash: string): string {
  const told = home.replace(/[^A-Za-z0-9._]+/g, '-').slice(-NAME_MAX);
  return join(base, TOP, `${told}-${hash}`);
}

/** The group in which all those of cellpool stand. */
export const TOP = 'cellpool';
/** A file name has 255 characters at most; these leave room for the hash. */
const NAME_MAX = 120;
