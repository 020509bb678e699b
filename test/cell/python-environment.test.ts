import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pino } from 'pino';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type CommandPlace, runAt } from '../../src/cell/command-place.ts';
import { looksLikePython, makePythonEnvironment, pythonOf } from '../../src/cell/python-environment.ts';
import { Redactor } from '../../src/observe/redact.ts';
import type { Isolation } from '../../src/os/isolation.ts';
import { isolationHere } from '../support/isolation.ts';
import { hasProgram } from '../support/packages.ts';
import { type Files, tempFolder, writeFiles } from '../support/repository.ts';

afterEach(() => vi.unstubAllEnvs());

/** What is withheld from cells comes before all they have; here nothing is. */
const STAND_INS = '/nonexistent';
const IDS = { ids: { taskId: 'task-1', agentId: 'agent-1' }, passed: [] };
const PROCESS: Isolation = { level: 'process', lacking: null, enclose: argv => argv };

function setting(files: Files, isolation = PROCESS) {
  const dir = tempFolder('cell');
  const folders = { home: join(dir, 'home'), temp: join(dir, 'tmp') };
  const [cwd, artifacts] = [join(dir, 'workspace'), join(dir, 'artifacts')];
  for (const folder of [folders.home, folders.temp, cwd, artifacts]) mkdirSync(folder);
  writeFiles(cwd, files);
  const logs: { level: number; msg: string; problem?: string }[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const grounds = { isolation, hidden: [], readable: [], standIns: STAND_INS };
  const redactor = new Redactor([]);
  const place: CommandPlace = { cellId: 'cell-1', dir, cwd, folders, artifacts, grounds, redactor, allowed: [], log };
  const run = async (command: string, python: string | null) => {
    const ended = await runAt({ ...place, python }, command, { ...IDS, log: 'command.log', timeoutMs: 60_000 });
    return ended.tail.trim();
  };
  return {
    dir,
    place,
    folder: join(folders.home, '.venv'),
    run,
    warnings: () => logs.filter(line => line.level >= 40),
  };
}

/** A folder on PATH, before all others, whose `python3` is this script. */
function stubPython(script: string): void {
  const programs = tempFolder('programs');
  writeFileSync(join(programs, 'python3'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  vi.stubEnv('PATH', `${programs}${delimiter}${process.env.PATH ?? ''}`);
}

test.each([
  ['pyproject.toml', true],
  ['setup.py', true],
  ['setup.cfg', true],
  ['requirements.txt', true],
  ['requirements-dev.txt', true],
  ['Pipfile', true],
  ['.python-version', true],
  ['manage.py', true],
  ['package.json', false],
  ['requirements', false],
  ['notes.txt', false],
  ['happy', false],
])('a repository with %s in its top folder looks like Python: %s', (name, is) => {
  expect(looksLikePython(['README.md', name])).toBe(is);
});

describe('without Python', () => {
  test('a repository that does not look like it starts no Python, and its programs get no variables', async () => {
    stubPython('touch "$HOME/started"');
    const { place, folder, warnings } = setting({ 'package.json': '{}' });
    expect(await makePythonEnvironment(place, IDS)).toBeNull();
    expect(existsSync(join(place.folders.home, 'started'))).toBe(false);
    expect(existsSync(folder)).toBe(false);
    expect(await pythonOf(place.folders.home)).toBeNull();
    expect(warnings()).toEqual([]);
  });

  test('a machine that has none is not complained of', async () => {
    vi.stubEnv('PATH', tempFolder('empty'));
    const { place, warnings } = setting({ 'setup.py': '' });
    expect(await makePythonEnvironment(place, IDS)).toBeNull();
    expect(warnings()).toEqual([]);
  });

  test("a version manager's program that refuses is told of; the cell does without, and nothing half made is left", async () => {
    stubPython('mkdir -p "$HOME/.venv/bin"; echo "version 9.9 is not installed" >&2; exit 1');
    const { place, folder, warnings } = setting({ '.python-version': '9.9\n' });
    expect(await makePythonEnvironment(place, IDS)).toBeNull();
    expect(warnings()).toMatchObject([
      { msg: 'the cell has no Python environment of its own', problem: 'version 9.9 is not installed' },
    ]);
    expect(existsSync(folder)).toBe(false);
    expect(readFileSync(join(place.artifacts ?? '', 'python.log'), 'utf8')).toContain('9.9');
  });

  test('a cell that is not wanted any more does not wait for one that hangs, and says nothing', async () => {
    const { place, folder, warnings } = setting({ 'setup.py': '' });
    stubPython('mkdir -p "$HOME/.venv"; echo up >"$HOME/up"; exec sleep 300');
    const unwanted = new AbortController();
    const made = makePythonEnvironment(place, { ...IDS, signal: unwanted.signal });
    await vi.waitFor(() => expect(existsSync(join(place.folders.home, 'up'))).toBe(true), 20_000);
    unwanted.abort();
    expect(await made).toBeNull();
    expect(existsSync(folder)).toBe(false);
    expect(warnings()).toEqual([]);
  });
});

const ASK = 'import sys; print(sys.prefix)';
/** Were they taken for Python's own, neither `venv` nor `pip` would work. */
const NAMED_LIKE_PARTS = {
  'setup.py': '',
  'venv.py': 'raise SystemExit("mine")',
  'zipfile.py': 'raise SystemExit("mine")',
  'queue.py': 'raise SystemExit("mine")',
  'pip/__init__.py': '',
};

describe.skipIf(!hasProgram('python3')).each(['process', 'sandbox', 'strict'] as const)('at level %s', async level => {
  const isolation = await isolationHere(level);

  test.skipIf(isolation === null)(
    'a Python environment is what python and pip of the cell are, whatever stands in the repository',
    async () => {
      const { place, folder, run, warnings } = setting(NAMED_LIKE_PARTS, isolation ?? PROCESS);
      const python = await makePythonEnvironment(place, IDS);
      expect(warnings()).toEqual([]);
      expect([python, await pythonOf(place.folders.home)]).toEqual([folder, folder]);
      const lines = [
        'echo "$VIRTUAL_ENV" "$PATH"',
        `python3 -c '${ASK}'`,
        `python -c '${ASK}'`,
        'command -v pip3',
        'pip --version',
      ];
      const version = expect.stringMatching(new RegExp(`^pip \\d.* from ${folder}/`));
      expect((await run(lines.join('\n'), python)).split('\n')).toEqual([
        `${folder} ${[STAND_INS, `${folder}/bin`, process.env.PATH].join(delimiter)}`,
        ...[folder, folder, `${folder}/bin/pip3`, version],
      ]);
    },
  );
});

test.skipIf(!hasProgram('python3'))("of the machine's packages an environment sees none", async () => {
  const { place, run } = setting({ 'setup.py': '' });
  const python = await makePythonEnvironment(place, IDS);
  expect(await run('python -m pip list --format=freeze', python)).toBe('');
});

test.skipIf(!hasProgram('python3'))('a Python without pip gets the one that it keeps for environments', async () => {
  const bare = setting({ 'setup.py': '' });
  const outer = await makePythonEnvironment(bare.place, IDS);
  // Seen from an environment without the link there is no pip.
  writeFiles(bare.folder, { 'bin/empty': '' });
  await bare.run('rm -r "$VIRTUAL_ENV/pip"', outer);
  vi.stubEnv('PATH', `${bare.folder}/bin${delimiter}${process.env.PATH}`);
  const { place, folder, run } = setting({ 'setup.py': '' });
  const python = await makePythonEnvironment(place, IDS);
  const version = await run('pip --version', python);
  // Some distributions have it in a package of its own.
  expect(version).toMatch(new RegExp(`^pip \\d.*${folder}/pip/pip|No module named pip`));
});
