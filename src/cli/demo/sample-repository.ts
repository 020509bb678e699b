/** The repository the demo works on: real git, real tests, nothing to install. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { InvalidInput } from '../../errors.ts';
import { runOk } from '../../os/run.ts';
import { FUNCTIONS, TESTS } from './sample-files.ts';

export { sampleTasks } from './sample-tasks.ts';

/** Makes the repository in `folder`, on branch `main`, with two commits. The folder may exist when it is empty. */
export async function makeSampleRepository(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) {
    throw new InvalidInput([{ where: folder, what: 'the sample repository is made in an empty folder only' }]);
  }
  // No template: hooks and settings of the user's own have no place in a sample.
  await git(folder, 'init', '--quiet', '--template=', '--initial-branch=main');
  await commit(folder, FUNCTIONS, 'Add functions for words, numbers, lists and prices');
  await commit(folder, TESTS, 'Add tests');
}

async function commit(folder: string, files: Readonly<Record<string, string>>, message: string): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  await git(folder, 'add', '--all');
  await git(folder, 'commit', '--quiet', '--no-verify', `--message=${message}`);
}

/** Git that knows nothing of the user's or the system's settings, nor of a repository around it. */
async function git(folder: string, ...args: string[]): Promise<void> {
  const name = 'cellpool demo';
  const email = 'demo@cellpool.invalid';
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: folder,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: email,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: email,
  };
  await runOk(['git', '-c', 'gc.auto=0', '-c', 'commit.gpgSign=false', ...args], { cwd: folder, env }, 'GIT_FAILED');
}
