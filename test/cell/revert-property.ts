/** The property that revert keeps, for the fast suite and for the slow one. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect } from 'vitest';
import { markSetupDone, revert, snapshot } from '../../src/cell/settle.ts';
import { removeWorkspace, type Workspace } from '../../src/cell/workspace.ts';
import { CellpoolError } from '../../src/errors.ts';
import { bytePath, bytePictureOf } from '../support/byte-tree.ts';
import { applyEdits } from '../support/hostile-edits.ts';
import { baseTree, commitTree, edits, namesKept } from '../support/random-tree.ts';
import { makeRepository, prepareCells, tempFolder, writeFiles } from '../support/repository.ts';

/**
 * Random bases, random edits by setup and agent, and what stands on the disk before and after. On a machine that is
 * slow or busy it is content with as many as `atMostMs` allow, and says so.
 */
export async function expectExactReverts(numRuns: number, atMostMs: number): Promise<void> {
  const end = performance.now() + atMostMs;
  const { names, left } = namesKept(tempFolder('names'));
  if (left.length > 0) process.stderr.write(`names that no file can have here: ${JSON.stringify(left)}\n`);
  const { top, folder, spawn } = await prepareCells({});
  const outside = join(folder, 'outside');
  makeRepository(outside);
  writeFiles(outside, { file: 'outside' });
  const outsideBefore = bytePictureOf(bytePath(outside));
  const attempt = fc.record({ setup: fc.option(edits(names)), agent: edits(names), snapshots: fc.nat(2) });
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.record({ base: baseTree(names), attempts: fc.array(attempt, { minLength: 1, maxLength: 3 }) }),
      async ({ base, attempts }) => {
        if (performance.now() > end) return;
        runs += 1;
        commitTree(top, base);
        const workspace = await spawn(`cell-${runs}`);
        const at = bytePath(workspace.workspacePath);
        const cellDir = dirname(workspace.workspacePath);
        const scene = { workspace: at, outside, base };
        try {
          const before = bytePictureOf(at);
          for (const { setup, agent, snapshots } of attempts) {
            if (setup !== null) {
              applyEdits(scene, setup);
              await unlessUnrecordable(markSetupDone(workspace));
            }
            applyEdits(scene, agent);
            for (let n = 0; n < snapshots; n += 1) await unlessUnrecordable(snapshot(workspace));
            expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
            expect(bytePictureOf(at)).toEqual(before);
          }
          await expectUnchanged(workspace);
        } finally {
          await removeWorkspace(cellDir);
        }
        expect(existsSync(cellDir)).toBe(false);
        expect(bytePictureOf(bytePath(outside))).toEqual(outsideBefore);
      },
    ),
    { numRuns },
  );
  if (runs < numRuns) process.stderr.write(`time for ${runs} of ${numRuns} random trees\n`);
}

/** What an agent leaves may be nothing that git can record; that is told, and revert has to mend it all the same. */
async function unlessUnrecordable(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    // Over some of it git itself comes down.
    if (!(error instanceof CellpoolError) || !['COMMIT_FAILED', 'GIT_FAILED'].includes(error.code)) throw error;
  }
}

/** The next attempt begins at the base, and not with a change of its own. */
async function expectUnchanged(workspace: Workspace): Promise<void> {
  expect(await snapshot(workspace)).toEqual({ tree: workspace.baseTree, changed: false, filesModified: [] });
}
