/**
 * Telling the agent's changes from others: what the setup command did to tracked files, what git itself does to
 * a file that nobody touched (a repository that asks for line endings its stored files do not have), and what is
 * nobody's work.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { removeTree } from '../os/remove-tree.ts';
import { type Change, type IndexEntry, joinNul, pathText, splitNul } from './commands.ts';
import { ownGitOk } from './git.ts';
import { changesBetween, putIntoIndex, type WorkRecord, writeTree } from './record.ts';
import { isTrackers } from './tracker.ts';

export interface TreeOfWork {
  tree: string;
  /** From the base to it. */
  changes: readonly Change[];
}

/** Of what was found in a work tree that began as `base`: what neither git has done nor one of `others`. */
export async function agentsWork(
  record: WorkRecord,
  base: string,
  found: TreeOfWork,
  others: readonly Change[],
): Promise<TreeOfWork> {
  const without = async (work: TreeOfWork, foreign: readonly Change[]) =>
    altered(record, base, work, await withoutChanges(record, work, foreign));
  const mine = await without(found, others);
  return without(mine, await changesOfGit(record, base, mine.changes));
}

/** `work` with this tree; what has changed is asked again only when it is another one. */
async function altered(record: WorkRecord, base: string, work: TreeOfWork, tree: string): Promise<TreeOfWork> {
  return tree === work.tree ? work : { tree, changes: await changesBetween(record, base, tree) };
}

/**
 * The tree with every path put back as it is in the base whose change is one of `others`, made by somebody else than
 * the agent. A path that the agent changed further stays as the agent left it.
 */
async function withoutChanges(
  record: WorkRecord,
  { tree, changes: now }: TreeOfWork,
  others: readonly Change[],
): Promise<string> {
  const byPath = new Map(now.map(change => [change.path, change]));
  const foreign = others.filter(other => {
    const change = byPath.get(other.path);
    return change?.newId === other.newId && change.newMode === other.newMode;
  });
  if (foreign.length === 0) return tree;
  const added = now.filter(isThere).map(change => change.path);
  // A file that setup deleted cannot come back where the agent has put a folder of that name, nor the reverse.
  const entries = foreign
    .filter(({ path }) => !added.some(one => one.startsWith(`${path}/`) || path.startsWith(`${one}/`)))
    .map(asBefore);
  return withEntries(record, tree, entries);
}

/**
 * The work with all of a tracker as it is in the base, whoever changed it.
 * @throws {CellpoolError} COMMIT_FAILED when a file stands where the base has a folder with one in it
 */
export async function withoutTrackers(record: WorkRecord, base: string, work: TreeOfWork): Promise<TreeOfWork> {
  const { tree, changes: now } = work;
  const entries = now.filter(change => isTrackers(change.path)).map(asBefore);
  if (entries.length === 0) return work;
  const others = now.filter(change => isThere(change) && !isTrackers(change.path));
  for (const { path, mode } of entries) {
    const blocking = mode === NOTHING ? undefined : others.find(one => path.startsWith(`${one.path}/`));
    if (blocking === undefined) continue;
    throw new CellpoolError(
      'COMMIT_FAILED',
      `${JSON.stringify(pathText(blocking.path))} stands in the way of ${pathText(path)}`,
      {
        hint: 'A folder that holds a tracked .beads must stay a folder.',
        facts: { path: pathText(path) },
      },
    );
  }
  return altered(record, base, work, await withEntries(record, tree, entries));
}

/** How git writes the mode of what is not there. */
const NOTHING = '000000';
const isThere = ({ newMode }: Change) => newMode !== NOTHING;
const asBefore = ({ path, oldMode, oldId }: Change): IndexEntry => ({ path, mode: oldMode, id: oldId });

function withEntries(record: WorkRecord, tree: string, entries: readonly IndexEntry[]): Promise<string> {
  return withScratchIndex(record, 'restored', async scratch => {
    // Git writes some trees that it will not read again: one with a link that it might take for settings of its own.
    await ownGitOk(['read-tree', tree], { gitDir: scratch.gitDir, index: scratch.index }, 'COMMIT_FAILED');
    await putIntoIndex(scratch, entries);
    return writeTree(scratch);
  });
}

/**
 * Those of `changes` that git alone would make: the file is checked out from the base and added again at once. Git
 * makes them or not depending on the second in which a file was written, so they must never count.
 */
async function changesOfGit(record: WorkRecord, base: string, changes: readonly Change[]): Promise<Change[]> {
  const regular = (mode: string) => mode.startsWith('100');
  const paths = changes.filter(one => regular(one.oldMode) && regular(one.newMode)).map(one => one.path);
  if (paths.length === 0 || !(await hasAttributes(record, base))) return [];
  return withScratchIndex(record, 'unchanged', async scratch => {
    await ownGitOk(['read-tree', base], { gitDir: scratch.gitDir, index: scratch.index });
    const call = { ...scratch, bytes: true, input: joinNul(paths), config: ['core.safecrlf=false'] };
    await ownGitOk(['checkout-index', '--quiet', '-z', '--stdin'], call);
    await ownGitOk(['update-index', '-z', '--stdin'], call);
    return changesBetween(record, base, await writeTree(scratch));
  });
}

/** Whether a tree holds a file of attributes, by the tree's id: it names the content, so the answer holds for ever. */
const attributed = new Map<string, boolean>();
/** The cells of a worker begin at few trees. */
const TREES_KNOWN = 100;

async function hasAttributes({ gitDir }: WorkRecord, tree: string): Promise<boolean> {
  const known = attributed.get(tree);
  if (known !== undefined) return known;
  const paths = splitNul(await ownGitOk(['ls-tree', '-r', '-z', '--name-only', tree], { gitDir, bytes: true }));
  const has = paths.some(path => /(^|\/)\.gitattributes$/.test(path));
  const [oldest] = attributed.size < TREES_KNOWN ? [] : attributed.keys();
  if (oldest !== undefined) attributed.delete(oldest);
  attributed.set(tree, has);
  return has;
}

async function withScratchIndex<T>(
  record: WorkRecord,
  name: string,
  use: (scratch: WorkRecord) => Promise<T>,
): Promise<T> {
  const folder = join(record.gitDir, `scratch-${name}`);
  await removeTree(folder);
  await mkdir(join(folder, 'files'), { recursive: true });
  try {
    return await use({ ...record, workTree: join(folder, 'files'), index: join(folder, 'index') });
  } finally {
    await removeTree(folder);
  }
}
