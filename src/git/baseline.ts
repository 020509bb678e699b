/**
 * Telling the agent's changes from others: what the setup command did to tracked files, what git itself does to
 * a file that nobody touched (a repository that asks for line endings its stored files do not have), and what is
 * nobody's work.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CellpoolError } from '../errors.ts';
import { removeTree } from '../os/remove-tree.ts';
import { type Change, type IndexEntry, joinNul, pathText } from './commands.ts';
import { ownGitOk } from './git.ts';
import { changesBetween, putIntoIndex, type WorkRecord, writeTree } from './record.ts';
import { isTrackers } from './tracker.ts';

/**
 * `tree` with every path put back as it is in `base` whose change is one of `others`, made by somebody else than the
 * agent. A path that the agent changed further stays as the agent left it.
 */
export async function withoutChanges(
  record: WorkRecord,
  base: string,
  tree: string,
  others: readonly Change[],
): Promise<string> {
  if (others.length === 0) return tree;
  const now = await changesBetween(record, base, tree);
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
 * `tree` with all of a tracker as it is in the base, whoever changed it; `now` is all that differs between the two.
 * @throws {CellpoolError} COMMIT_FAILED when a file stands where the base has a folder with one in it
 */
export async function withoutTrackers(record: WorkRecord, tree: string, now: readonly Change[]): Promise<string> {
  const entries = now.filter(change => isTrackers(change.path)).map(asBefore);
  if (entries.length === 0) return tree;
  const work = now.filter(change => isThere(change) && !isTrackers(change.path));
  for (const { path, mode } of entries) {
    const blocking = mode === NOTHING ? undefined : work.find(one => path.startsWith(`${one.path}/`));
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
  return withEntries(record, tree, entries);
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
export async function changesOfGit(record: WorkRecord, base: string, changes: readonly Change[]): Promise<Change[]> {
  const regular = (mode: string) => mode.startsWith('100');
  const paths = changes.filter(one => regular(one.oldMode) && regular(one.newMode)).map(one => one.path);
  if (paths.length === 0) return [];
  return withScratchIndex(record, 'unchanged', async scratch => {
    await ownGitOk(['read-tree', base], { gitDir: scratch.gitDir, index: scratch.index });
    const attributes = ['ls-files', '-z', '--', ':(top,glob)**/.gitattributes'];
    if ((await ownGitOk(attributes, scratch)) === '') return [];
    const call = { ...scratch, bytes: true, input: joinNul(paths), config: ['core.safecrlf=false'] };
    await ownGitOk(['checkout-index', '--quiet', '-z', '--stdin'], call);
    await ownGitOk(['update-index', '-z', '--stdin'], call);
    return changesBetween(record, base, await writeTree(scratch));
  });
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
    return await use({ gitDir: record.gitDir, workTree: join(folder, 'files'), index: join(folder, 'index') });
  } finally {
    await removeTree(folder);
  }
}
