/**
 * A real `bd` for tests, and repositories with a tracker. Looked for in BD_BIN, on PATH, and where `.ci/run` puts the
 * one it builds; where there is none, the tests that need it say so and are passed over.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { makeRepository } from './repository.ts';

/** `.ci/run` builds this one. */
export const BD_VERSION = '1.3.0';

/** For a call on a machine under load: bd takes half a second of a core for each. */
export const PATIENT_MS = 10 * 60_000;

function candidates(): string[] {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const onPath = (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, 'bd'));
  return [process.env.BD_BIN ?? '', ...onPath, join(cache, 'cellpool', 'bd', BD_VERSION, 'bd')].filter(Boolean);
}

/** Its path; null, said by `who`, when there is none here. */
export function bdHere(who: string): string | null {
  const found = candidates().find(path => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (found !== undefined) return found;
  process.stderr.write(`skipped: ${who}: there is no bd here: set BD_BIN, or let .ci/run build one (it needs Go)\n`);
  return null;
}

export interface Tracker {
  /** The repository. */
  folder: string;
  /** For `BeadsSource`: its own home, so that nothing of the user's counts. */
  env: NodeJS.ProcessEnv;
  /** Runs bd as a person called anna would; gives what it printed, as JSON. Throws when it fails. */
  bd(...args: string[]): unknown;
  /** Makes a bead and gives its id. */
  create(title: string, ...args: string[]): string;
  show(id: string): Record<string, unknown>;
  /** Texts of its comments, oldest first. */
  comments(id: string): string[];
}

/** A repository in `folder` with an empty tracker. */
export function makeTracker(program: string, folder: string): Tracker {
  const repository = makeRepository(join(folder, 'repository'));
  const home = join(folder, 'home');
  mkdirSync(home);
  const env = { PATH: process.env.PATH, HOME: home, TMPDIR: process.env.TMPDIR, BD_BIN: program };
  const quiet = { ...env, BD_DISABLE_METRICS: '1', BD_DISABLE_EVENT_FLUSH: '1', BD_NON_INTERACTIVE: '1' };
  const run = (...args: string[]) =>
    execFileSync(program, args, { cwd: repository, encoding: 'utf8', env: quiet, stdio: ['ignore', 'pipe', 'pipe'] });
  const bd = (...args: string[]): unknown => {
    const printed = run(...args, '--json', '--actor', 'anna');
    return printed.trim() === '' ? null : JSON.parse(printed);
  };
  run('init', '--non-interactive', '--quiet', '--prefix', 'p', '--skip-hooks', '--skip-agents');
  return {
    folder: repository,
    env,
    bd,
    create: (title, ...args) => (bd('create', title, ...args) as { id: string }).id,
    show: id => (bd('show', id) as Record<string, unknown>[])[0] as Record<string, unknown>,
    comments: id => (bd('comments', id) as { text: string }[]).map(({ text }) => text),
  };
}
