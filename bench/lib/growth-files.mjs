/** Larger and larger repositories: making a workspace, committing one change, removing it, beside what git alone takes. */
import { appendFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commit, snapshot } from '../../dist/cell/settle.js';
import { makeWorkspace, removeWorkspace } from '../../dist/cell/workspace.js';
import { openMirror, pinBase, unpin } from '../../dist/git/mirror.js';
import { openSource } from '../../dist/git/source.js';
import { median, round } from './figures.mjs';
import { git } from './git.mjs';
import { makeRepositoryOf } from './repositories.mjs';

const AUTHOR = { name: 'bench', email: 'bench@localhost' };
const EDITED = 'part-0/folder-0/file-0.txt';
const STEPS = ['spawn', 'settle', 'remove'];

export async function growthOfFiles({ steps, rounds, say }) {
  const rows = [];
  for (const files of steps) {
    rows.push(await withFiles(files, rounds));
    say(`files: ${JSON.stringify(rows.at(-1))}`);
  }
  return rows;
}

async function withFiles(files, rounds) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'cellpool-bench-')));
  try {
    const path = join(folder, 'source');
    await makeRepositoryOf(path, files);
    const source = await openSource(path);
    const mirror = await openMirror(join(folder, 'state'), source);
    const place = { folder, path, source, mirror };
    // The first of each pays for cold file caches, and ours for the mirror.
    await bare(place, 0);
    await ours(place, 0);
    const turns = [];
    for (let at = 1; at <= rounds; at += 1) turns.push({ bare: await bare(place, at), ours: await ours(place, at) });
    const of = (side, step) => median(turns.map(turn => turn[side][step]));
    const ratio = step => median(turns.map(turn => turn.ours[step] / turn.bare[step]));
    return {
      at: files,
      ...Object.fromEntries(STEPS.map(step => [`${step}Ratio`, round(ratio(step), 2)])),
      ...Object.fromEntries(STEPS.map(step => [`${step}Ms`, round(of('ours', step))])),
      ...Object.fromEntries(STEPS.map(step => [`${step}BareMs`, round(of('bare', step))])),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Times of what is done one after another, in milliseconds. */
async function timesOf(work) {
  const times = {};
  for (const step of STEPS) {
    const began = performance.now();
    await work[step]();
    times[step] = performance.now() - began;
  }
  return times;
}

function bare({ folder, path }, turn) {
  const tree = join(folder, `bare-${turn}`);
  const as = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
  return timesOf({
    spawn: () => git(path, 'worktree', 'add', '--quiet', '-b', `bare-${turn}`, tree, 'main'),
    async settle() {
      appendFileSync(join(tree, EDITED), `bare ${turn}\n`);
      await git(tree, 'add', '--all');
      await git(tree, ...as, 'commit', '--quiet', '--message=Edit');
    },
    remove: () => git(path, 'worktree', 'remove', '--force', tree),
  });
}

function ours({ folder, source, mirror }, turn) {
  const id = `ours-${turn}`;
  const cellDir = join(folder, id);
  const branch = `cellpool/${id}`;
  let workspace = null;
  return timesOf({
    async spawn() {
      const tip = await pinBase(mirror, source, 'main', id);
      mkdirSync(cellDir);
      workspace = await makeWorkspace({ mirror, commit: tip, cellDir, branch });
    },
    async settle() {
      appendFileSync(join(workspace.workspacePath, EDITED), `ours ${turn}\n`);
      const facts = { source, branch, taskId: id, expectedOld: null, message: 'Edit', author: AUTHOR, trailers: {} };
      await commit(workspace, { ...facts, snapshot: await snapshot(workspace) });
    },
    async remove() {
      await removeWorkspace(cellDir);
      await unpin(mirror, id);
    },
  });
}
