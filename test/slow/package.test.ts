/** What a user gets from the registry: packed, installed into an empty project, started and compiled against. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Of the specification, plus the words that a program which calls them needs. */
const VALUES = ['AgentSpawner'];
const TYPES = ['SpawnConfig', 'SpawnedAgent', 'LifecycleMetrics'];

describe('npm pack', () => {
  test('holds the build and the papers, and nothing else', async () => {
    const { stdout } = await execa('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root });
    const [packed] = JSON.parse(stdout) as { files: { path: string }[] }[];
    const paths = packed?.files.map(file => file.path) ?? [];
    expect(paths.filter(path => !path.startsWith('dist/')).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'docker-compose.yml',
      'package.json',
    ]);
    const built = paths.filter(path => path.startsWith('dist/'));
    expect(built).toEqual(expect.arrayContaining(['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js']));
    const assets = ['board.css', 'board.js', 'icon.svg'].map(name => `dist/board/assets/${name}`);
    expect(built).toEqual(expect.arrayContaining(assets));
    expect(built.filter(path => !/\.(js|d\.ts|lua)$/.test(path) && !assets.includes(path))).toEqual([]);
  });
});

describe('installed into an empty project', () => {
  let project: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'package-'));
    // opencode's install script writes into HOME and the temp folder.
    env = { HOME: join(project, 'home'), TMPDIR: join(project, 'tmp') };
    for (const folder of Object.values(env)) mkdirSync(folder);
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'user', private: true, type: 'module' }));
    const packed = await execa('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], {
      cwd: root,
    });
    const [tarball] = JSON.parse(packed.stdout) as { filename: string }[];
    const flags = ['--prefer-offline', '--no-audit', '--no-fund'];
    await execa('npm', ['install', ...flags, `./${tarball?.filename}`], { cwd: project, env });
  });

  afterAll(() => {
    rmSync(project, { recursive: true, force: true });
  });

  test('`npx cellpool --help` tells the commands', async () => {
    const { stdout } = await execa('npx', ['--no', '--', 'cellpool', '--help'], { cwd: project, env });
    for (const command of ['run', 'enqueue', 'worker', 'doctor', 'demo']) expect(stdout).toContain(command);
  });

  test('`cellpool --version` is the one of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const { stdout } = await execa('npx', ['--no', '--', 'cellpool', '--version'], { cwd: project, env });
    expect(stdout.trim()).toBe(version);
  });

  test('the library has the public names, and importing it does nothing', async () => {
    const code = "console.log(JSON.stringify(Object.keys(await import('cellpool'))))";
    const { stdout, stderr } = await execa(process.execPath, ['--input-type=module', '--eval', code], {
      cwd: project,
      timeout: 30_000,
    });
    expect(JSON.parse(stdout)).toEqual(expect.arrayContaining(VALUES));
    expect(stderr).toBe('');
  });

  test('its types are there, and are types', async () => {
    mkdirSync(join(project, 'src'));
    writeFileSync(
      join(project, 'src', 'use.ts'),
      [
        `import { ${VALUES.join(', ')} } from 'cellpool';`,
        `import type { ${TYPES.join(', ')} } from 'cellpool';`,
        'export async function use(spawner: AgentSpawner, config: SpawnConfig): Promise<LifecycleMetrics> {',
        '  const agent: SpawnedAgent = await spawner.spawnAgent(config);',
        '  const id: string = agent.taskId;',
        '  // @ts-expect-error a name that is not there: were the types `any`, this would pass',
        '  agent.thereIsNoSuchName;',
        '  // @ts-expect-error the task id is a text',
        '  const wrong: number = agent.taskId;',
        '  await spawner.executeTask(agent, id + wrong);',
        '  return spawner.teardownAgent(agent);',
        '}',
        '',
      ].join('\n'),
    );
    const compilerOptions = {
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: true,
      types: ['node'],
      typeRoots: [join(root, 'node_modules', '@types')],
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const { stdout, exitCode } = await execa(process.execPath, [tsc, '-p', project], { cwd: project, reject: false });
    expect(stdout).toBe('');
    expect(exitCode).toBe(0);
  });
});
