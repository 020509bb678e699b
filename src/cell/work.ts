/** What becomes of an agent's work: committed, or kept as a patch and reverted. */
import { join } from 'node:path';
import { CellpoolError, messageOf } from '../errors.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import type { Cell } from './cell.ts';
import { commit, revert, type Snapshot, saveDiff, snapshot, summaryOf } from './settle.ts';
import type { CommitExtras, CommitResult, RevertResult } from './spawned-agent.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { addsSecret } from './work-secrets.ts';

/** @throws {CellpoolError} as `AgentSpawner.commitChanges` */
export async function commitWork(
  site: SpawnerSite,
  cell: Cell,
  message: string,
  { facts = {}, fence, signal }: CommitExtras,
): Promise<CommitResult> {
  const work = await workOf(cell);
  let secretInWork = false;
  const keep = async () => {
    secretInWork = await keepPatch(cell, work);
  };
  if (!work.changed) {
    await keep();
    return { committed: false, commit: null, branch: null, filesModified: [], secretInWork };
  }
  const made = await commit(cell.workspace, {
    source: site.source,
    branch: cell.branch,
    taskId: cell.config.taskId,
    expectedOld: cell.branchBefore,
    message,
    author: cell.config.author ?? site.author,
    snapshot: work,
    trailers: {
      Task: cell.config.taskId,
      Attempt: String(cell.config.attempt),
      Cell: cell.id,
      Model: cell.config.model ?? 'default',
      Tokens: String(cell.tokensUsed),
      ...(cell.config.job === undefined ? {} : { Enqueued: new Date(cell.config.job.enqueuedAt).toISOString() }),
      ...facts,
    },
    meanwhile: keep,
    // In this order, because what the fence permits is good for a moment only.
    fence: async () => {
      await cell.port.prove();
      await fence?.();
    },
    signal,
  }).catch(error => {
    throw error === signal?.reason ? new CellpoolError('CANCELLED', 'cancelled while it was published') : error;
  });
  cell.branchBefore = made.commit;
  cell.log.info({ commit: made.commit, branch: made.branch, replaced: made.replaced }, 'committed');
  const { commit: id, branch, filesModified } = made;
  return { committed: true, commit: id, branch, filesModified, secretInWork };
}

/** @throws {CellpoolError} REVERT_FAILED */
export async function revertWork(cell: Cell): Promise<RevertResult> {
  // An agent may leave what git cannot record, say a link in place of the workspace; that is no way to stay.
  const kept = async () => {
    const work = await workOf(cell);
    return { work, secretInWork: await keepPatch(cell, work) };
  };
  const { work, secretInWork } = await kept().catch(error => {
    cell.log.warn({ problem: messageOf(error) }, 'the diff could not be saved');
    return { work: null, secretInWork: false };
  });
  const summary = work === null ? '' : await summaryOf(cell.workspace, work).catch(() => '');
  const { tree } = await revert(cell.workspace);
  cell.snapshot = null;
  const diff = work === null ? null : join(cell.artifacts, ARTIFACTS.diff);
  return { tree, diff, summary, filesModified: work?.filesModified ?? [], secretInWork };
}

/** The work as judged, or as it is now. */
async function workOf(cell: Cell): Promise<Snapshot> {
  // A copy of what was too much already would take as much again.
  cell.disk.over.throwIfAborted();
  cell.snapshot ??= await snapshot(cell.workspace);
  return cell.snapshot;
}

/** Its patch is kept among the artifacts whatever becomes of it. @returns whether it holds a secret */
async function keepPatch(cell: Cell, work: Snapshot): Promise<boolean> {
  const patch = join(cell.artifacts, ARTIFACTS.diff);
  await saveDiff(cell.workspace, work, patch);
  const secretInWork = await addsSecret(patch, cell.redactor);
  if (secretInWork) cell.log.warn({ patch }, "the agent's work holds a secret of this worker");
  return secretInWork;
}
