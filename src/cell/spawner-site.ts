/** The site: what all cells on one repository share, prepared once. */
import { mkdtemp, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULTS } from '../config.ts';
import { CellpoolError, InvalidInput } from '../errors.ts';
import { type Mirror, openMirror } from '../git/mirror.ts';
import { openRemote } from '../git/remote-cache.ts';
import { openSource, type Source } from '../git/source.ts';
import { isUrl, urlFaults } from '../job/repository.ts';
import type { Logger } from '../observe/logger.ts';
import { silentLogger } from '../observe/logger.ts';
import { Redactor } from '../observe/redact.ts';
import { secretsOfEnvironment, secretsOfTree } from '../observe/secrets.ts';
import { allEnded } from '../os/all-ended.ts';
import { type AskedIsolation, chooseIsolation } from '../os/isolation.ts';
import type { Profile } from '../os/memory.ts';
import type { ResourceLimits } from '../os/resource-limits.ts';
import { run } from '../os/run.ts';
import { makeStateFolder } from '../os/state-folder.ts';
import type { WorkspaceKind } from './agent-git.ts';
import { prepareConfigFolder } from './config-folder.ts';
import { type Grounds, groundsOf, guarded } from './enclosure.ts';
import { ModelCatalogue } from './model-catalogue.ts';
import { findOpencode } from './opencode-binary.ts';
import { makeStandIns } from './stand-ins.ts';
import { makeWorkspace, removeWorkspace } from './workspace.ts';

export interface SiteOptions {
  /** The user's repository: a folder, or the URL of one that is fetched from and pushed to. */
  repository: string;
  /** The state folder. */
  home: string;
  opencodeBin?: string | undefined;
  opencode?: Record<string, unknown>;
  /** Of commits. */
  author?: { name: string; email: string };
  /** Time limits in milliseconds: until the server answers, of the setup command, of the test command. */
  bootMs?: number;
  setupMs?: number;
  testMs?: number;
  /** What a cell may use; left out, the defaults; null in it: no limit. */
  limits?: Partial<ResourceLimits>;
  /** How cells are kept apart from the machine; left out: as far as the machine allows. */
  isolation?: AskedIsolation;
  /** Further files and folders of the machine that cells may read. */
  readable?: readonly string[];
  /** `worktree`: agents work in worktrees of the repository, and may change all of its `.git`; default `clone`. */
  workspace?: WorkspaceKind;
  /** How the server of the next cell is to be set; default: `fast`. */
  profile?: () => Promise<Profile>;
  /** Gives each cell its workspace, in its folder; left out: makes one. */
  workspaces?: typeof makeWorkspace;
  /** Takes the folder of an ended cell from its place, in which nobody works any more; left out: removes it. */
  discard?: (folder: string) => Promise<void>;
  /** Names of environment variables that reach the server, and the setup and test commands. */
  env?: { server: readonly string[]; commands: readonly string[] };
  log?: Logger;
  /** Share it between the sites of one process; left out: one that knows the secrets of this process's environment. */
  redactor?: Redactor;
}

export interface SpawnerSite
  extends Required<Omit<SiteOptions, 'opencodeBin' | 'repository' | 'limits' | 'isolation' | 'readable'>> {
  readonly limits: ResourceLimits;
  readonly grounds: Grounds;
  readonly source: Source;
  readonly mirror: Mirror;
  readonly binary: string;
  readonly configFolder: string;
  readonly models: ModelCatalogue;
}

/**
 * @throws {CellpoolError} NOT_A_REPOSITORY, OPENCODE_MISSING, GIT_MISSING, STATE_FOLDER, ISOLATION_MISSING; for a URL
 * also what `openRemote` throws. {InvalidInput} with the faults of a URL. The signal's reason on abort.
 */
export async function openSite(options: SiteOptions, signal?: AbortSignal): Promise<SpawnerSite> {
  const workspace = options.workspace ?? 'clone';
  const [source, binary, isolation] = await allEnded([
    openRepository(options, signal),
    findOpencode(options.opencodeBin),
    chooseIsolation(options.isolation ?? 'auto', options.readable),
  ]);
  if (workspace === 'worktree' && isolation.level !== 'process') await demandOwner(source);
  await makeStateFolder(options.home);
  const home = await realpath(options.home);
  const [mirror, version] = await allEnded([openMirror(home, source), opencodeVersion(binary), makeStandIns(home)]);
  const log = options.log ?? silentLogger;
  const env = options.env ?? { server: [], commands: [] };
  const [configFolder, models] = await allEnded([
    prepareConfigFolder(home, version),
    ModelCatalogue.open({ home, binary, version, passed: env.server, log }),
  ]);
  const redactor =
    options.redactor ?? new Redactor(secretsOfEnvironment(process.env, [...env.server, ...env.commands]));
  redactor.add(secretsOfTree(options.opencode));
  const places = { home, source, objects: mirror.objects };
  const grounds = groundsOf(isolation, places, [configFolder, models.folder, await realpath(binary)], workspace);
  return {
    source: workspace === 'worktree' ? guarded(source, grounds) : source,
    mirror,
    binary,
    configFolder,
    models,
    grounds,
    workspace,
    profile: options.profile ?? (async () => 'fast'),
    workspaces: options.workspaces ?? makeWorkspace,
    discard: options.discard ?? removeWorkspace,
    home,
    opencode: options.opencode ?? {},
    author: options.author ?? DEFAULTS.author,
    bootMs: options.bootMs ?? DEFAULTS.bootMs,
    setupMs: options.setupMs ?? DEFAULTS.setupMs,
    testMs: options.testMs ?? DEFAULTS.testMs,
    limits: { ...DEFAULTS.limits, ...options.limits },
    env,
    log,
    redactor,
  };
}

async function openRepository(
  { repository, home, workspace }: SiteOptions,
  signal: AbortSignal | undefined,
): Promise<Source> {
  if (!isUrl(repository)) return openSource(repository);
  const faults = urlFaults(repository).map(what => ({ where: 'repository', what }));
  if (faults.length > 0) throw new InvalidInput(faults);
  if (workspace === 'worktree') {
    // Another worker may be without, so the task is to wait for that one.
    throw new CellpoolError('NOT_A_REPOSITORY', `${repository}: a repository named by URL has no worktrees`, {
      hint: 'Run a worker without --workspace worktree.',
      facts: { repository },
    });
  }
  await makeStateFolder(home);
  return openRemote(home, repository, signal);
}

/** Inside, the files of others cannot be written, whoever we are outside. @throws {CellpoolError} NOT_A_REPOSITORY */
async function demandOwner({ path, gitDir }: Source): Promise<void> {
  const { uid } = await stat(gitDir);
  if (uid === process.getuid?.()) return;
  throw new CellpoolError('NOT_A_REPOSITORY', `${path} belongs to another user, so its worktrees are no workspaces`, {
    hint: 'Run the worker as the owner of the repository, or without --workspace worktree.',
    facts: { path },
  });
}

/** @throws {CellpoolError} OPENCODE_MISSING when the program does not run. */
export async function opencodeVersion(binary: string): Promise<string> {
  // It writes folders into its home even to tell its version.
  const home = await mkdtemp(join(tmpdir(), 'cellpool-version-'));
  const env = { PATH: process.env.PATH ?? '', HOME: home, TMPDIR: home };
  const result = await run([binary, '--version'], { env, timeoutMs: 30_000 }).finally(() =>
    rm(home, { recursive: true, force: true }),
  );
  if (result.exitCode === 0) return result.stdout.trim();
  throw new CellpoolError('OPENCODE_MISSING', `opencode does not run: ${result.stderr.trim() || result.problem}`, {
    hint: 'Run npm ci again, or set OPENCODE_BIN.',
  });
}
