/**
 * A Python environment for each cell whose repository looks like Python: what `pip install` brings goes there, not to
 * the machine and not to other cells. It lies in the cell's HOME, so that commits and reverts know nothing of it.
 *
 * Python makes an environment without pip in a twentieth of the time it takes with one. So pip is the machine's, seen
 * from inside the environment: a path entry leads to a folder that holds nothing but a link to it. A link in
 * `site-packages` itself would be followed by `pip install --upgrade pip`, up to the machine's own files.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import { findProgram } from '../os/program.ts';
import { type CommandAtOptions, type CommandPlace, runAt } from './command-place.ts';

/** Files in the top folder of a repository that has to do with Python. */
const SIGNS = /^(pyproject\.toml|setup\.py|setup\.cfg|requirements[^/]*\.txt|Pipfile|\.python-version|[^/]+\.py)$/;

/** As long as a server may take: on a busy machine a version manager's program takes many seconds to come to Python. */
const MAKE_MS = 60_000;

/** Where it is, below the cell's HOME. */
const NAME = '.venv';

/**
 * `python3 -I -c MAKE <folder>`. Where the machine's Python has no pip, the one that it keeps for environments is
 * unpacked; where there is none either, `pip` says so, rather than to install into the machine.
 */
const MAKE = `
import glob, importlib.util, os, shlex, sys, sysconfig, venv, zipfile
folder = sys.argv[1]
venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
beside, programs = os.path.join(folder, "pip"), os.path.join(folder, "bin")
os.mkdir(beside)
pip = importlib.util.find_spec("pip")
if pip is not None and pip.submodule_search_locations:
    os.symlink(pip.submodule_search_locations[0], os.path.join(beside, "pip"))
else:
    ensurepip = importlib.util.find_spec("ensurepip")
    bundled = os.path.join(os.path.dirname(ensurepip.origin), "_bundled") if ensurepip else ""
    places = [place for place in (sysconfig.get_config_var("WHEEL_PKG_DIR"), bundled) if place]
    wheels = [found for place in places for found in glob.glob(os.path.join(glob.escape(place), "pip-*.whl"))]
    if wheels:
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(beside, [name for name in wheel.namelist() if name.startswith("pip/")])
for library in glob.glob(os.path.join(glob.escape(folder), "lib", "*", "site-packages")):
    with open(os.path.join(library, "pip-of-the-machine.pth"), "w") as file:
        file.write(beside + "\\n")
for name in ("pip", "pip3"):
    program = os.path.join(programs, name)
    with open(program, "w") as file:
        file.write('#!/bin/sh\\nexec %s -I -m pip "$@"\\n' % shlex.quote(os.path.join(programs, "python")))
    os.chmod(program, 0o755)
`;

/** Whether the files in the top folder of a repository look like Python. */
export function looksLikePython(names: readonly string[]): boolean {
  return names.some(name => SIGNS.test(name));
}

/**
 * Makes the environment of a cell, inside it and in its workspace, for there may stand which Python is wanted.
 * @returns its folder; null when the workspace is no Python, or the machine has none that works.
 * Never throws: what a repository's own commands make of it is theirs to say.
 */
export async function makePythonEnvironment(
  place: CommandPlace,
  options: Pick<CommandAtOptions, 'ids' | 'passed' | 'signal'>,
): Promise<string | null> {
  const { cwd, folders, log } = place;
  const folder = join(folders.home, NAME);
  try {
    if (!looksLikePython(await readdir(cwd)) || !(await hasPython())) return null;
    const how = { ...options, log: ARTIFACTS.pythonLog, timeoutMs: MAKE_MS, env: { MAKE, FOLDER: folder } };
    const made = await runAt(place, 'exec python3 -I -c "$MAKE" "$FOLDER"', how);
    if (made.exitCode === 0) {
      log.debug({ durationMs: made.durationMs }, 'Python environment made');
      return folder;
    }
    const problem = made.timedOut ? `not done after ${MAKE_MS} ms` : made.tail.trim().slice(-1_000);
    if (!options.signal?.aborted) log.warn({ problem }, 'the cell has no Python environment of its own');
  } catch (error) {
    log.warn({ problem: messageOf(error) }, 'the cell has no Python environment of its own');
  }
  await rm(folder, { recursive: true, force: true });
  return null;
}

/** The environment that was made in this HOME; null when there is none. */
export async function pythonOf(ownHome: string): Promise<string | null> {
  const folder = join(ownHome, NAME);
  return stat(join(folder, 'bin')).then(
    found => (found.isDirectory() ? folder : null),
    () => null,
  );
}

async function hasPython(): Promise<boolean> {
  return findProgram('python3', process.env.PATH ?? '').then(
    () => true,
    () => false,
  );
}
