/**
 * Runs once around all test files of a run. Before: a fresh temp root, a HOME in it, a marker for every process, and
 * none of the operator's cellpool settings. After: nothing may be left, or the run fails with a listing.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { groupsLeft, removeGroups } from './support/groups-left.ts';
import {
  canListProcesses,
  describeLeaks,
  endProcesses,
  type LeakedProcess,
  OF_FILE,
  pathsIn,
  processesLeft,
  ROOT_VARIABLE,
  RUN_VARIABLE,
  realFolder,
} from './support/leaks.ts';

export default function setup(): () => Promise<void> {
  const root = realFolder(mkdtempSync(join(tmpdir(), 'cp-')));
  const run = randomBytes(8).toString('hex');
  const home = join(root, 'home');
  mkdirSync(home);
  prepareEnvironment(root, home, run);

  return async () => {
    const scope = { marker: `${RUN_VARIABLE}=${run}`, folder: root };
    const leaked = await processesLeft(scope, isOfVitest);
    const groups = groupsLeft(root);
    // A file whose tests are all skipped has its folder made for it, and no hook that removes it.
    const emptyOfFile = new RegExp(`^/${OF_FILE}[^/]+/$`);
    const paths = pathsIn(root).filter(path => path !== join(home, '/') && !emptyOfFile.test(path.slice(root.length)));
    const listing = describeLeaks(leaked, [...paths, ...groups]);
    endProcesses(scope, leaked);
    removeGroups(groups);
    rmSync(root, { recursive: true, force: true, maxRetries: 5 });
    if (!canListProcesses) {
      say(`Leak check: processes were not looked for, since ${process.platform} has no /proc to read them from.`);
    }
    if (listing === null) return;
    say(`\nLEAK: this run left something behind.\n${listing}`);
    // Vitest only prints what a teardown throws; the exit code has to be set by hand.
    process.exitCode = 1;
  };
}

/** Vitest's own workers are children of this process; what tests start are children of those, or orphans. */
function isOfVitest(found: LeakedProcess): boolean {
  return found.parent === process.pid;
}

function prepareEnvironment(root: string, home: string, run: string): void {
  const realHome = homedir();
  // Caches stay where they are, so that nothing is fetched anew; everything else of HOME is out of sight.
  process.env.XDG_CACHE_HOME ??= join(realHome, '.cache');
  process.env.npm_config_cache ??= join(realHome, '.npm');
  process.env.npm_config_userconfig ??= join(realHome, '.npmrc');
  process.env.DOCKER_CONFIG ??= join(realHome, '.docker');
  process.env.HOME = home;
  process.env.TMPDIR = root;
  process.env[ROOT_VARIABLE] = root;
  process.env[RUN_VARIABLE] = run;
  for (const name of Object.keys(process.env)) {
    const ours = name.startsWith('CELLPOOL_') && !name.startsWith('CELLPOOL_TEST_');
    if (ours || ['REDIS_URL', 'OPENCODE_BIN', 'XDG_STATE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME'].includes(name)) {
      delete process.env[name];
    }
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
