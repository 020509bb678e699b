/** The user's repository may be one that agents have written to: nothing they planted there runs as the worker. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { forgetAgentGit } from '../../src/cell/agent-git.ts';
import { commit, revert, snapshot } from '../../src/cell/settle.ts';
import { finishedWork } from '../../src/git/finished.ts';
import {
  checkedOutAt,
  currentBranch,
  hasUncommittedEdits,
  isAncestor,
  openSource,
  someBranches,
  tipOf,
} from '../../src/git/source.ts';
import { git, makeRepository, tempFolder, writeFiles } from '../support/repository.ts';
import { prepareWorktrees } from '../support/worktree.ts';

interface Scene {
  top: string;
  gitDir: string;
  /** Another repository, and the folder of the test. */
  other: string;
  folder: string;
  /** A shell command that leaves a trace. */
  trace: string;
}

interface Plant {
  what: string;
  plant(scene: Scene): void;
  /** What runs it in the user's own git, so that it is known to be alive. */
  alive(scene: Scene): string[][];
}

const MISSING = '1'.repeat(40);

function config({ top }: Scene, entries: Record<string, string>): void {
  for (const [key, value] of Object.entries(entries)) git(top, 'config', key, value);
}

function script({ folder, trace }: Scene, name: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${trace}\n`);
  chmodSync(path, 0o755);
  return path;
}

function hooks(scene: Scene, folder: string): void {
  const names = ['reference-transaction', 'post-checkout', 'pre-auto-gc', 'post-index-change', 'update', 'pre-receive'];
  for (const name of names) writeFiles(folder, { [name]: `#!/bin/sh\n${scene.trace}\n` });
  for (const name of names) chmodSync(join(folder, name), 0o755);
}

const PLANTS: Plant[] = [
  {
    what: 'hooks',
    plant: scene => hooks(scene, join(scene.gitDir, 'hooks')),
    alive: () => [['update-ref', 'refs/heads/probe', 'HEAD']],
  },
  {
    what: 'core.hooksPath',
    plant(scene) {
      hooks(scene, join(scene.folder, 'planted'));
      config(scene, { 'core.hooksPath': join(scene.folder, 'planted') });
    },
    alive: () => [['update-ref', 'refs/heads/probe', 'HEAD']],
  },
  {
    what: 'core.fsmonitor',
    plant: scene => config(scene, { 'core.fsmonitor': script(scene, 'fsmonitor') }),
    alive: () => [['status']],
  },
  {
    what: 'a filter with a name that no command line can hold, for files that look edited',
    plant(scene) {
      config(scene, { 'filter.a=b.clean': `${scene.trace}; cat`, 'filter.long.process': `${scene.trace}; exit 1` });
      config(scene, { 'filter.a=b.required': 'true' });
      writeFiles(scene.gitDir, { 'info/attributes': '* filter=a=b\nsub/** filter=long\n' });
      for (const name of ['a.txt', 'sub/b.txt']) utimesSync(join(scene.top, name), 1, 1);
    },
    alive: () => [['status']],
  },
  {
    what: 'a filter of the config of a worktree',
    plant(scene) {
      config(scene, { 'extensions.worktreeConfig': 'true' });
      git(scene.top, 'config', '--worktree', 'filter.x.clean', `${scene.trace}; cat`);
      writeFiles(scene.gitDir, { 'info/attributes': '* filter=x\n' });
      utimesSync(join(scene.top, 'a.txt'), 1, 1);
    },
    alive: () => [['status']],
  },
  {
    what: 'a program that checks signatures',
    plant(scene) {
      config(scene, { 'log.showSignature': 'true', 'gpg.program': script(scene, 'gpg') });
      const signature = 'gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----';
      const who = 'a <a@b> 1 +0000';
      const text = `tree ${git(scene.top, 'rev-parse', 'HEAD^{tree}')}\nauthor ${who}\ncommitter ${who}\n${signature}\n\nx\n`;
      const options = { cwd: scene.top, input: text, encoding: 'utf8' } as const;
      const signed = execFileSync('git', ['hash-object', '-t', 'commit', '-w', '--stdin'], options).trim();
      git(scene.top, 'update-ref', 'refs/heads/cellpool/signed', signed);
    },
    alive: () => [['log', '-1', 'cellpool/signed']],
  },
  {
    what: 'a command that lists the refs of borrowed repositories',
    plant(scene) {
      config(scene, { 'core.alternateRefsCommand': `${scene.trace} #` });
      writeFileSync(join(scene.gitDir, 'objects', 'info', 'alternates'), `${join(scene.other, '.git', 'objects')}\n`);
    },
    alive: ({ other }) => [['fetch', other, 'main']],
  },
  {
    what: 'an address in place of a path, of a helper that runs a command',
    plant(scene) {
      config(scene, { [`url.ext::sh -c ${scene.trace.replaceAll(' ', '% ')} .insteadOf`]: `${scene.folder}/` });
      config(scene, { 'protocol.ext.allow': 'always' });
    },
    alive: ({ other }) => [['fetch', other, 'main']],
  },
  {
    what: 'an address in place of a path, of a helper that is an alias',
    plant(scene) {
      config(scene, { 'url.file::x.insteadOf': `${scene.folder}/`, 'alias.remote-file': `!${scene.trace}` });
    },
    alive: ({ other }) => [['fetch', other, 'main']],
  },
  {
    what: 'a place from which missing objects are fetched',
    plant(scene) {
      config(scene, { 'core.repositoryFormatVersion': '1', 'extensions.partialClone': 'evil' });
      config(scene, { 'remote.evil.promisor': 'true', 'remote.evil.url': scene.other });
      config(scene, { 'remote.evil.uploadpack': `${scene.trace}; git-upload-pack` });
    },
    alive: () => [['cat-file', '-e', MISSING]],
  },
  {
    what: 'a file of settings that another one includes',
    plant(scene) {
      git(scene.top, 'config', '--file', join(scene.folder, 'more'), 'core.fsmonitor', script(scene, 'fsmonitor'));
      config(scene, { 'include.path': join(scene.folder, 'more') });
    },
    alive: () => [['status']],
  },
];

test.each(PLANTS)('nothing runs of $what', async ({ plant, alive }) => {
  const traces = tempFolder('traces');
  const {
    spawn,
    source,
    mirror: _,
    gitDir,
    top,
    folder,
  } = await prepareWorktrees({ 'a.txt': 'a\n', 'sub/b.txt': 'b' });
  const other = makeRepository(join(folder, 'other'));
  const scene = { top, gitDir, folder, other, trace: `echo ran >>${traces}/trace` };
  const workspace = await spawn();
  plant(scene);
  // So that git keeps nothing of what it learns, and asks again.
  const env = { ...process.env, GIT_OPTIONAL_LOCKS: '0' };
  for (const args of alive(scene)) spawnSync('git', args, { cwd: top, env, stdio: 'ignore' });
  expect(readdirSync(traces)).toEqual(['trace']);
  rmSync(join(traces, 'trace'));

  // A base that is not in the mirror yet.
  const next = git(top, 'commit-tree', '-p', 'main', '-m', 'next', 'main^{tree}');
  git(top, '-c', 'core.hooksPath=/dev/null', 'update-ref', 'refs/heads/main', next);

  // Some of this fails, as it must on such a repository; what counts is that nothing runs.
  const calls: (() => Promise<unknown>)[] = [
    () => openSource(top),
    () => tipOf(source, 'main'),
    () => someBranches(source),
    () => currentBranch(source),
    () => hasUncommittedEdits(source),
    () => checkedOutAt(source, 'main'),
    () => isAncestor(source, MISSING, workspace.baseCommit),
    () => finishedWork(source, { branch: 'cellpool/signed', taskId: 'signed', enqueuedAt: 1 }),
    async () => {
      writeFiles(workspace.workspacePath, { 'new.txt': 'n\n' });
      const taken = await snapshot(workspace);
      const author = { name: 'A', email: 'a@b' };
      const target = { source, branch: 'cellpool/fix-1', taskId: 'fix-1', expectedOld: null, message: 'm', author };
      await commit(workspace, { ...target, trailers: {}, snapshot: taken });
    },
    () => revert(workspace),
    () => forgetAgentGit(workspace),
    () => spawn('fix-2.0123abcd'),
  ];
  for (const call of calls) await call().catch(() => undefined);
  expect(readdirSync(traces)).toEqual([]);
});
