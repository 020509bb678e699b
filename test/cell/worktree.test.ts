/** Workspaces that are worktrees of the user's repository: what agents find there, and what is left of them. */
import { execFile, execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { forgetAgentGit } from '../../src/cell/agent-git.ts';
import { groundsOf, guarded } from '../../src/cell/enclosure.ts';
import { commit, revert, snapshot } from '../../src/cell/settle.ts';
import { openSite } from '../../src/cell/spawner-site.ts';
import { removeWorkspace, type Workspace } from '../../src/cell/workspace.ts';
import { checkedOutAt, type Source } from '../../src/git/source.ts';
import { isolationHere } from '../support/isolation.ts';
import { git, makeRepository, pictureOf, refsOf, tempFolder, writeFiles } from '../support/repository.ts';
import { prepareWorktrees, registrations } from '../support/worktree.ts';

const FILES = { 'a.txt': 'a\n', 'sub/b.txt': 'b\n', '.gitignore': 'ignored/\n' };
const ID = 'fix-1.0123abcd';
const compiled = fileURLToPath(new URL('../../dist', import.meta.url));
const maker = fileURLToPath(new URL('../fixtures/makes-worktrees.mjs', import.meta.url));

/** Git as an agent has it: with the HOME of its cell, and no name from elsewhere. */
function agentGit({ workspacePath }: Workspace, ...args: string[]): string {
  const env = { PATH: process.env.PATH ?? '', HOME: join(dirname(workspacePath), 'home') };
  return execFileSync('git', args, { cwd: workspacePath, env, encoding: 'utf8', stdio: 'pipe' }).trim();
}

async function commitNow(workspace: Workspace, source: Source) {
  const taken = await snapshot(workspace);
  const target = { source, branch: 'cellpool/fix-1', taskId: 'fix-1', expectedOld: null, message: 'Fix' };
  return commit(workspace, { ...target, author: { name: 'A', email: 'a@b' }, snapshot: taken, trailers: {} });
}

async function remove(workspace: Workspace): Promise<void> {
  await forgetAgentGit(workspace);
  await removeWorkspace(dirname(workspace.workspacePath));
}

describe('a fresh worktree', () => {
  test('holds the files of the base, on no branch, clean in the eyes of the agent', async () => {
    const { spawn, top, gitDir } = await prepareWorktrees(FILES);
    const refs = refsOf(top);
    const workspace = await spawn();
    expect(pictureOf(workspace.workspacePath)).toEqual(pictureOf(top));
    expect(agentGit(workspace, 'status', '--porcelain', '--branch')).toBe('## HEAD (no branch)');
    expect(agentGit(workspace, 'rev-parse', 'HEAD')).toBe(workspace.baseCommit);
    expect(registrations(gitDir)).toEqual([ID]);
    expect(refsOf(top)).toBe(refs);
    expect(git(top, 'worktree', 'list', '--porcelain')).toContain(
      `worktree ${workspace.workspacePath}\nHEAD ${workspace.baseCommit}\ndetached\nlocked an agent of cellpool`,
    );
    expect(readdirSync(dirname(workspace.workspacePath)).sort()).toEqual(['home', 'record.git', 'workspace']);
  });

  test('lets an agent commit, by the author it was given, into the repository of the user', async () => {
    const { spawn, top } = await prepareWorktrees(FILES);
    const workspace = await spawn();
    writeFiles(workspace.workspacePath, { 'a.txt': 'agent\n' });
    agentGit(workspace, 'commit', '-qam', 'mine');
    agentGit(workspace, 'branch', 'of-the-agent');
    expect(git(top, 'log', '-1', '--format=%an %ae %s', 'of-the-agent')).toBe('cellpool cellpool@localhost mine');
  });

  test('cannot be forgotten by the git of another cell, which does not see its files', async () => {
    const { spawn, top, gitDir } = await prepareWorktrees(FILES);
    const workspace = await spawn();
    renameSync(workspace.workspacePath, `${workspace.workspacePath}-unseen`);
    git(top, 'worktree', 'prune', '--expire=now');
    expect(registrations(gitDir)).toEqual([ID]);
  });

  test.each<[string, (folder: string) => string]>([
    [
      'a bare repository',
      folder => {
        git(folder, 'clone', '--quiet', '--bare', makeRepository(join(folder, 'source'), FILES), 'bare.git');
        return join(folder, 'bare.git');
      },
    ],
    [
      'a linked worktree',
      folder => {
        const top = makeRepository(join(folder, 'source'), FILES);
        git(top, 'worktree', 'add', '--quiet', '-b', 'side', join(folder, 'linked'));
        return join(folder, 'linked');
      },
    ],
    ['a folder with spaces and quotes', folder => makeRepository(join(folder, `my 'ré' "po"`), FILES)],
  ])('can be one of %s', async (_name, make) => {
    const { spawn, source, gitDir, top } = await prepareWorktrees(make);
    const before = registrations(gitDir);
    const workspace = await spawn();
    expect(agentGit(workspace, 'status', '--porcelain')).toBe('');
    writeFiles(workspace.workspacePath, { 'a.txt': 'agent\n' });
    const made = await commitNow(workspace, source);
    expect(git(top, 'rev-parse', 'cellpool/fix-1', 'cellpool/fix-1^')).toBe(`${made.commit}\n${workspace.baseCommit}`);
    await remove(workspace);
    expect(registrations(gitDir)).toEqual(before);
  });

  test('leaves nothing when it cannot be made', async () => {
    const { spawn, folder, gitDir } = await prepareWorktrees(FILES);
    writeFileSync(join(gitDir, 'worktrees'), 'in the way');
    await expect(spawn()).rejects.toMatchObject({ code: 'SPAWN_FAILED' });
    expect(readdirSync(join(folder, 'home', 'cells', ID))).toEqual(['home']);
    expect(readFileSync(join(gitDir, 'worktrees'), 'utf8')).toBe('in the way');
  });
});

test('20 worktrees at once on one repository, made by two processes, are all right and leave nothing', async () => {
  const { spawn, folder, top, source, gitDir } = await prepareWorktrees(FILES);
  const [refs, picture] = [refsOf(top), pictureOf(top)];
  const idOf = (n: number) => `fix-${n}.0123abcd`;
  const ours = Array.from({ length: 10 }, (_, n) => idOf(n));
  const others = Array.from({ length: 10 }, (_, n) => idOf(10 + n));
  // Another state folder, so that what the two have in common is the repository alone.
  const home = join(folder, 'other');
  const options = JSON.stringify({ repository: top, home, cells: others });
  const [made] = await Promise.all([
    Promise.all(ours.map(spawn)),
    promisify(execFile)(process.execPath, [maker, compiled, options]),
    ...ours.map(() => checkedOutAt(source, 'none')),
  ]);
  expect(registrations(gitDir)).toEqual([...ours, ...others].sort());
  const paths = [...made.map(one => one.workspacePath), ...others.map(id => join(home, 'cells', id, 'workspace'))];
  for (const path of paths) expect(git(path, 'status', '--porcelain')).toBe('');
  await Promise.all([...made.map(remove), ...others.map(id => forgetAgentGit({ worktree: { source, id } }))]);
  expect(registrations(gitDir)).toEqual([]);
  expect(existsSync(join(gitDir, 'worktrees'))).toBe(false);
  expect(refsOf(top)).toBe(refs);
  expect(pictureOf(top)).toEqual(picture);
}, 120_000);

describe('revert brings back files and .git, when the agent', () => {
  const deeds: [string, (workspace: Workspace, folder: string) => void][] = [
    [
      'has edited and staged',
      workspace => {
        writeFiles(workspace.workspacePath, { 'a.txt': 'A\n', 'new/x': 'x', 'ignored/y': 'y' });
        agentGit(workspace, 'add', '--all');
      },
    ],
    [
      'has gone to a branch of its own and committed there',
      workspace => {
        writeFiles(workspace.workspacePath, { 'sub/b.txt': 'B\n' });
        agentGit(workspace, 'switch', '--quiet', '-c', 'own');
        agentGit(workspace, 'commit', '-qam', 'own');
      },
    ],
    [
      'has broken its registration',
      workspace => {
        const registered = agentGit(workspace, 'rev-parse', '--absolute-git-dir');
        rmSync(join(registered, 'HEAD'));
        mkdirSync(join(registered, 'HEAD'));
      },
    ],
    [
      'has put a repository of its own in the place of .git',
      ({ workspacePath }) => {
        rmSync(join(workspacePath, '.git'));
        makeRepository(workspacePath, { 'a.txt': 'mine\n' });
      },
    ],
    [
      'has put a link to a folder of somebody else in the place of .git',
      ({ workspacePath }, folder) => {
        writeFiles(folder, { 'precious/HEAD': 'p' });
        rmSync(join(workspacePath, '.git'));
        symlinkSync(join(folder, 'precious'), join(workspacePath, '.git'));
      },
    ],
  ];
  test.each(deeds)('%s', async (_name, deed) => {
    const { spawn, folder, gitDir } = await prepareWorktrees(FILES);
    const workspace = await spawn();
    const before = pictureOf(workspace.workspacePath, []);
    deed(workspace, folder);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    expect(pictureOf(workspace.workspacePath, [])).toEqual(before);
    expect(agentGit(workspace, 'status', '--porcelain', '--branch')).toBe('## HEAD (no branch)');
    expect(agentGit(workspace, 'rev-parse', 'HEAD')).toBe(workspace.baseCommit);
    expect(registrations(gitDir)).toEqual([ID]);
    if (existsSync(join(folder, 'precious'))) expect(readdirSync(join(folder, 'precious'))).toEqual(['HEAD']);
  });
});

describe('removal is of the own registration only, when', () => {
  test('the user has worktrees, one of them without its folder', async () => {
    const { spawn, folder, top } = await prepareWorktrees(FILES);
    git(top, 'worktree', 'add', '--quiet', '-b', 'side', join(folder, 'linked'));
    git(top, 'worktree', 'add', '--quiet', '-b', 'lost', join(folder, 'lost'));
    rmSync(join(folder, 'lost'), { recursive: true });
    const before = git(top, 'worktree', 'list', '--porcelain');
    await remove(await spawn());
    expect(git(top, 'worktree', 'list', '--porcelain')).toBe(before);
    expect(git(join(folder, 'linked'), 'status', '--porcelain')).toBe('');
  });

  test('the agent lets its .git and its registration point to a worktree of the user', async () => {
    const { spawn, folder, top, gitDir } = await prepareWorktrees(FILES);
    git(top, 'worktree', 'add', '--quiet', '-b', 'side', join(folder, 'linked'));
    const workspace = await spawn();
    writeFileSync(join(workspace.workspacePath, '.git'), `gitdir: ${join(gitDir, 'worktrees', 'linked')}\n`);
    writeFileSync(join(gitDir, 'worktrees', ID, 'gitdir'), `${join(folder, 'linked', '.git')}\n`);
    await remove(workspace);
    expect(registrations(gitDir)).toEqual(['linked']);
    expect(git(join(folder, 'linked'), 'status', '--porcelain', '--branch')).toBe('## side');
  });

  test('the agent puts links to folders of somebody else in its place', async () => {
    const { spawn, folder, gitDir } = await prepareWorktrees(FILES);
    writeFiles(folder, { 'outside/precious': 'p', [`above/${ID}/precious`]: 'p' });
    const workspace = await spawn();
    const registered = join(gitDir, 'worktrees', ID);
    symlinkSync(join(folder, 'outside'), join(registered, 'logs'));
    rmSync(join(registered, 'HEAD'));
    symlinkSync(join(folder, 'outside', 'precious'), join(registered, 'HEAD'));
    await forgetAgentGit(workspace);
    symlinkSync(join(folder, 'outside'), join(gitDir, `cellpool-gone-${ID}`));
    await forgetAgentGit(workspace);
    expect(registrations(gitDir)).toEqual([]);
    symlinkSync(join(folder, 'above'), join(gitDir, 'worktrees'));
    await forgetAgentGit(workspace);
    for (const name of ['outside', `above/${ID}`]) expect(readdirSync(join(folder, name))).toEqual(['precious']);
  });
});

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('skipped: only root can give a repository to another user\n');

test.skipIf(!isRoot || (await isolationHere('sandbox')) === null)(
  'a repository of another user is refused where the isolation would keep agents from writing to it',
  async () => {
    const folder = tempFolder();
    const top = makeRepository(join(folder, 'source'));
    writeFiles(folder, { 'user/.gitconfig': '[safe]\n\tdirectory = *\n' });
    chownSync(join(top, '.git'), 1_000, 1_000);
    const { HOME } = process.env;
    process.env.HOME = join(folder, 'user');
    onTestFinished(() => void Object.assign(process.env, { HOME }));
    const options = { repository: top, home: join(folder, 'home'), workspace: 'worktree' } as const;
    const refused = { code: 'NOT_A_REPOSITORY', message: expect.stringContaining('belongs to another user') };
    await expect(openSite({ ...options, isolation: 'sandbox' })).rejects.toMatchObject(refused);
  },
);

describe.each(['sandbox', 'strict'] as const)('in isolation %s', async level => {
  const isolation = await isolationHere(level);
  const prepare = () =>
    prepareWorktrees(FILES, (source, folder) => {
      const home = join(folder, 'home');
      const objects = join(home, 'mirrors');
      return guarded(source, groundsOf(isolation ?? never(), { home, source, objects }, [], 'worktree'));
    });

  test.skipIf(isolation === null)('the worker makes, commits, reverts and removes it', async () => {
    const { spawn, source, top, gitDir } = await prepare();
    const workspace = await spawn();
    expect(agentGit(workspace, 'status', '--porcelain')).toBe('');
    writeFiles(workspace.workspacePath, { 'a.txt': 'agent\n' });
    const { commit: made } = await commitNow(workspace, source);
    expect(git(top, 'rev-parse', 'cellpool/fix-1')).toBe(made);
    expect(await revert(workspace)).toEqual({ tree: workspace.baseTree });
    await remove(workspace);
    expect(registrations(gitDir)).toEqual([]);
  });

  test.skipIf(isolation === null)(
    'what the worker writes there goes through no link that leads out',
    async () => {
      const { spawn, source, folder, gitDir } = await prepare();
      const workspace = await spawn();
      mkdirSync(join(folder, 'outside'));
      writeFiles(workspace.workspacePath, { 'a.txt': 'agent\n' });
      const places = ['refs/heads/cellpool', 'logs/refs/heads/cellpool'];
      for (const name of places) {
        symlinkSync(join(folder, 'outside'), join(gitDir, name));
        await expect(commitNow(workspace, source)).rejects.toMatchObject({ code: 'COMMIT_FAILED' });
        for (const place of places) rmSync(join(gitDir, place), { recursive: true, force: true });
      }
      expect(readdirSync(join(folder, 'outside'))).toEqual([]);
      // Such a link does lead out, where nothing is in its way.
      const { enclose: _, ...open } = source;
      symlinkSync(join(folder, 'outside'), join(gitDir, 'refs/heads/cellpool'));
      await commitNow(workspace, open);
      expect(readdirSync(join(folder, 'outside'))).toEqual(['fix-1']);
    },
    120_000,
  );
});

function never(): never {
  throw new Error('tests of an isolation that does not work here are passed over');
}
