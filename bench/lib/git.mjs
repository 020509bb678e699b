/** Git without settings of the user or the machine, and its answer. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const GIT_ENV = {
  PATH: process.env.PATH ?? '',
  HOME: '/nonexistent',
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
};

/** A program in `cwd`, in that environment. Rejects on any exit code but 0. */
export async function output(cwd, file, ...args) {
  return (await run(file, args, { cwd, env: GIT_ENV, maxBuffer: 64 * 1024 ** 2 })).stdout;
}

export const git = (cwd, ...args) => output(cwd, 'git', ...args);
