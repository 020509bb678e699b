/**
 * Ways to hand out a fresh workspace. Each prepares itself once for a source repository, makes a workspace in a folder
 * that is not there yet, and removes it. What is made holds the files at `tree`.
 */
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { makeWorkspace, removeWorkspace } from '../../dist/cell/workspace.js';
import { openMirror, pinBase, unpin } from '../../dist/git/mirror.js';
import { openSource } from '../../dist/git/source.js';
import { silentLogger } from '../../dist/observe/logger.js';
import { ownIdentity } from '../../dist/os/identity.js';
import { Removals } from '../../dist/worker/removals.js';
import { SpareWorkspaces } from '../../dist/worker/spare-workspaces.js';
import { git, output } from './git.mjs';

const remove = path => rm(path, { recursive: true, force: true, maxRetries: 3 });

/** A way whose workspace is the folder itself, and is removed with it. */
const plain = create => async place => ({ create: path => create(place, path), tree: path => path, remove });

const worktree =
  (...config) =>
  async ({ source }) => ({
    create: path => git(source, ...config, 'worktree', 'add', '--quiet', '--detach', path, 'main'),
    tree: path => path,
    remove: path => git(source, 'worktree', 'remove', '--force', path),
  });

/** With a status after a second, so that no file is as young as the index, and copies of it are compared at once. */
async function baseClone({ source, folder }) {
  const base = join(folder, 'base');
  await git(folder, 'clone', '--quiet', '--shared', '--template=', source, base);
  await new Promise(done => setTimeout(done, 1_100));
  await git(base, 'status', '--porcelain');
  return base;
}

const copy =
  (...flags) =>
  async place => {
    const base = await baseClone(place);
    return { create: path => output(place.folder, 'cp', '-a', ...flags, base, path), tree: path => path, remove };
  };

async function overlay(place) {
  const base = await baseClone(place);
  return {
    async create(path) {
      for (const part of ['upper', 'work', 'merged']) mkdirSync(join(path, part), { recursive: true });
      const options = `lowerdir=${base},upperdir=${join(path, 'upper')},workdir=${join(path, 'work')}`;
      await output(place.folder, 'mount', '-t', 'overlay', 'overlay', '-o', options, join(path, 'merged'));
    },
    tree: path => join(path, 'merged'),
    async remove(path) {
      await output(place.folder, 'umount', join(path, 'merged'));
      await remove(path);
    },
  };
}

/**
 * With all that a cell's workspace has: files, the agent's git, and the record that only the worker uses. `pinned`: the
 * base is looked up and pinned for each, as a cell does.
 */
const made = pinned => async place => {
  const source = await openSource(place.source);
  const mirror = await openMirror(join(place.folder, 'state'), source);
  const commit = await pinBase(mirror, source, 'main', 'base');
  const idOf = path => path.slice(path.lastIndexOf('/') + 1);
  return {
    async create(path) {
      const tip = pinned ? await pinBase(mirror, source, 'main', idOf(path)) : commit;
      mkdirSync(path);
      await makeWorkspace({ mirror, commit: tip, cellDir: path, branch: `cellpool/${idOf(path)}` });
    },
    tree: path => join(path, 'workspace'),
    async remove(path) {
      await removeWorkspace(path);
      if (pinned) await unpin(mirror, idOf(path));
    },
  };
};

/**
 * As a worker hands them out: one that waits where its measurements say that this saves time, else one that is made.
 * How long the next one takes to be made behind is no part of it; `made` tells that.
 */
async function ours(place) {
  const source = await openSource(place.source);
  const home = join(place.folder, 'state');
  const mirror = await openMirror(home, source);
  const commit = await pinBase(mirror, source, 'main', 'base');
  const owner = await ownIdentity();
  const removals = new Removals({ home, owner, log: silentLogger });
  const spares = new SpareWorkspaces({ home, owner, removals, reserve: { diskMb: 0 }, log: silentLogger });
  return {
    async create(path) {
      mkdirSync(path);
      await spares.get({ mirror, commit, cellDir: path, branch: `cellpool/${basename(path)}` });
    },
    tree: path => join(path, 'workspace'),
    remove: removeWorkspace,
    rest: () => spares.settled(),
    /** How many wait for the next cell: none where the repository is better off without. */
    waiting: () => spares.ready,
    async close() {
      await spares.settled();
      await spares.end();
      await removals.settled();
    },
  };
}

const clone = (...flags) =>
  plain(({ source, folder }, path) => git(folder, 'clone', '--quiet', ...flags, source, path));

export const OURS = 'ours';

/** `root` marks what only root can do. */
export const WAYS = {
  'git worktree add': { open: worktree() },
  'git worktree add, checkout.workers=2': { open: worktree('-c', 'checkout.workers=2') },
  'git clone --shared': { open: clone('--shared', '--single-branch') },
  'git clone --shared, checkout.workers=2': { open: clone('--shared', '--single-branch', '-c', 'checkout.workers=2') },
  'git clone --local': { open: clone('--local', '--single-branch') },
  'cp -a of a base clone': { open: copy('--reflink=never') },
  'cp -a --reflink=auto of a base clone': { open: copy('--reflink=auto') },
  'overlayfs over a base clone': { open: overlay, root: true },
  [OURS]: { open: ours },
  'ours, made when it is needed': { open: made(false) },
  'ours, made, its base looked up and pinned': { open: made(true) },
};
