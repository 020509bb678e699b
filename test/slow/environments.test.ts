/** What setup commands install stays in the cell; what they download serves the next one, and no agent gets at that. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { runCell } from '../../src/cell/run-cell.ts';
import type { SpawnConfig } from '../../src/cell/spawn-config.ts';
import { type ScriptStep, script } from '../../src/cli/demo/script.ts';
import { SCRIPTED_MODEL } from '../../src/cli/demo/scripted-model.ts';
import type { AttemptResult } from '../../src/job/outcome.ts';
import { startTestCells, type TestCells } from '../support/cell.ts';
import { isolationHere } from '../support/isolation.ts';
import { hasProgram, makeWheel, type NpmRegistry, npmProject, startNpmRegistry } from '../support/packages.ts';
import { commitAll, type Files, git, pictureOf, tempFolder, writeFiles } from '../support/repository.ts';

let cells: TestCells | null = null;
let registry: NpmRegistry | null = null;
afterEach(async () => {
  await cells?.close();
  await registry?.close();
  [cells, registry] = [null, null];
});

async function startOn(files: Files, isolation: 'process' | 'sandbox'): Promise<TestCells> {
  cells = await startTestCells({ isolation, bootMs: 300_000, setupMs: 120_000, testMs: 120_000 });
  writeFiles(cells.repository, files);
  commitAll(cells.repository);
  return cells;
}

function attempt({ spawner }: TestCells, taskId: string, steps: ScriptStep[], config: Partial<SpawnConfig>) {
  return runCell(spawner, {
    config: { agentId: 'agent-1', taskId, model: SCRIPTED_MODEL, ...config },
    prompt: `Do it.\n\n${script(steps)}`,
    subject: 'What was asked',
    signal: new AbortController().signal,
    onStage: () => undefined,
    onUsage: () => undefined,
  });
}

const logOf = ({ artifacts }: AttemptResult, name: string) => readFileSync(join(artifacts, name), 'utf8').trim();

describe.skipIf(!hasProgram('python3')).each(['process', 'sandbox'] as const)('Python at level %s', async level => {
  const here = await isolationHere(level);

  test.skipIf(here === null)('what one cell installs, its agent and its tests have, and no other cell', async () => {
    const wheels = tempFolder('wheels');
    makeWheel(wheels, 'shout', '1.0', { 'shout.py': 'WORD = "LOUD"\n' });
    makeWheel(wheels, 'whisper', '1.0', { 'whisper.py': 'WORD = "quiet"\n' });
    const files = Object.fromEntries(
      ['shout', 'whisper'].map(name => {
        const file = `wheels/${name}-1.0-py3-none-any.whl`;
        return [file, readFileSync(join(wheels, `${name}-1.0-py3-none-any.whl`))];
      }),
    );
    const own = await startOn({ 'requirements.txt': 'shout\n', 'wheels/.keep': '' }, level);
    for (const [path, content] of Object.entries(files)) writeFileSync(join(own.repository, path), content);
    commitAll(own.repository, 'wheels');
    const ASK = "python -c \"import importlib.util as u; print([n for n in ('shout', 'whisper') if u.find_spec(n)])\"";
    const from = '--no-index --find-links wheels';

    const first = await attempt(own, 'first', [{ run: `pip install -q ${from} whisper && ${ASK} >found.txt` }], {
      setup: `pip install -q ${from} -r requirements.txt`,
      test: ASK,
    });
    expect(first).toMatchObject({ outcome: 'committed', filesModified: ['found.txt'], error: null });
    const both = "['shout', 'whisper']";
    expect(git(own.repository, 'show', `${first.branch}:found.txt`)).toBe(both);
    expect(logOf(first, 'test.log')).toBe(both);

    // The second has an environment of the repository's own, which pip and python of that are for.
    const venv = 'python3 -m venv --without-pip .venv';
    const second = await attempt(own, 'second', [{ run: `. .venv/bin/activate && ${ASK} >found.txt` }], {
      setup: `${venv} && python -m pip --python .venv/bin/python install -q ${from} whisper`,
      test: `${ASK}; .venv/bin/python -c 'import sys, whisper; print(sys.prefix)'`,
    });
    expect(second).toMatchObject({ outcome: 'committed', filesModified: ['found.txt'], error: null });
    expect(git(own.repository, 'show', `${second.branch}:found.txt`)).toBe("['whisper']");
    expect(logOf(second, 'test.log')).toMatch(/^\[\]\n.*\/cells\/second\.\w+\/workspace\/\.venv$/);
    await own.expectNothingLeft();
  });

  test.skipIf(here === null)('switched off, the cell has what the machine has', async () => {
    const own = await startOn({ 'setup.py': '' }, level);
    const setup = 'echo "[$VIRTUAL_ENV]"; ls -A "$HOME"';
    const off = await attempt(own, 'off', [{ say: 'Done.' }], { python: 'off', setup });
    expect(off.outcome).toBe('no-changes');
    expect(logOf(off, 'setup.log')).toMatch(/^\[\]/);
    expect(logOf(off, 'setup.log')).not.toContain('.venv');
    await own.expectNothingLeft();
  });
});

describe.skipIf(!hasProgram('npm')).each(['process', 'sandbox'] as const)('npm at level %s', async level => {
  const here = await isolationHere(level);

  async function project(): Promise<{ own: TestCells; shop: NpmRegistry }> {
    const folder = tempFolder('npm');
    registry = await startNpmRegistry(folder, 'shout', { 'index.js': "module.exports = 'LOUD';\n" });
    const own = await startOn(await npmProject(folder, registry, 'shout'), level);
    registry.asked.length = 0;
    return { own, shop: registry };
  }

  const WORK: Partial<SpawnConfig> = { setup: 'npm ci', test: 'node -e "require(\'shout\')"' };

  test.skipIf(here === null)(
    'shared: the second cell downloads nothing, and has nothing of the first agent',
    async () => {
      const { own, shop } = await project();
      const shared = { ...WORK, caches: 'shared' } as const;
      const spoil = [
        'cd "$HOME/.npm/_cacache"',
        'find . -type f | while read -r file; do echo poison >"$file"; done',
        'echo planted >content-v2/planted',
        'echo done >"$OLDPWD/done.txt"',
      ].join('; ');
      const first = await attempt(own, 'first', [{ run: spoil }], shared);
      expect(first).toMatchObject({ outcome: 'committed', filesModified: ['done.txt'] });
      expect(shop.asked).toContain('/shout-1.0.0.tgz');
      const kept = pictureOf(join(own.home, 'caches'));
      const poison = [btoa('poison\n'), btoa('planted\n')];
      expect(Object.values(kept).filter(what => poison.some(word => what.includes(word)))).toEqual([]);
      expect(Object.keys(kept).some(path => path.includes('_cacache/content-v2/'))).toBe(true);

      shop.asked.length = 0;
      const second = await attempt(own, 'second', [{ run: 'node -p "require(\'shout\')" >said.txt' }], shared);
      expect(second).toMatchObject({ outcome: 'committed', filesModified: ['said.txt'] });
      expect(git(own.repository, 'show', `${second.branch}:said.txt`)).toBe('LOUD');
      expect(shop.asked).toEqual([]);
      await own.expectNothingLeft();
    },
  );

  test.skipIf(here === null)(
    'each its own: the second cell downloads all of it again, and nothing is kept',
    async () => {
      const { own, shop } = await project();
      for (const taskId of ['first', 'second']) {
        shop.asked.length = 0;
        expect((await attempt(own, taskId, [{ say: 'Done.' }], WORK)).outcome).toBe('no-changes');
        expect(shop.asked).toContain('/shout-1.0.0.tgz');
      }
      expect(existsSync(join(own.home, 'caches'))).toBe(false);
      await own.expectNothingLeft();
    },
  );
});

vi.setConfig({ testTimeout: 600_000 });
