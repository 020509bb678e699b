/**
 * The public face of a cell: spawn an agent, give it a task, test, commit or revert, tear down. Usable without a
 * queue; the worker is built on it and has no other path.
 */
import { availableParallelism } from 'node:os';
import pLimit, { type LimitFunction } from 'p-limit';
import { CellpoolError } from '../errors.ts';
import type { HookName } from '../job/hooks.ts';
import type { LifecycleMetrics, Stage } from '../job/outcome.ts';
import type { Redactor } from '../observe/redact.ts';
import { DiskWatch } from '../os/disk-watch.ts';
import type { PortLeases } from '../redis/port-lease.ts';
import type { Cell } from './cell.ts';
import { type ExecuteOptions, type ExecutionResult, execute } from './execute.ts';
import { type HookOptions, runHook, runSpawnFailureHook } from './hooks.ts';
import { namingOutOfMemory, serverOutOfMemory } from './out-of-memory.ts';
import { askHealth } from './ready.ts';
import type { Registration } from './registration.ts';
import { snapshot } from './settle.ts';
import { Shelf } from './shelf.ts';
import { type SpawnContext, spawnCell } from './spawn.ts';
import { type AgentKind, checkAgentKind, checkSpawnConfig, type SpawnConfig } from './spawn-config.ts';
import {
  agentOf,
  type CellInfo,
  type CommitExtras,
  type CommitResult,
  infoOf,
  type PreparedAgent,
  preparedAgentOf,
  type RevertResult,
  type SpawnedAgent,
} from './spawned-agent.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { stopProcesses } from './stop-processes.ts';
import { removeAll, teardown } from './teardown.ts';
import { runTests, runTestsOfChanges, setUp, type TestResult } from './verify.ts';
import { makeWarmCell } from './warm-up.ts';
import { WarmUpModel } from './warm-up-model.ts';
import { commitWork, revertWork } from './work.ts';

const HEALTH_MS = 2_000;

export interface AgentSpawnerOptions {
  site: SpawnerSite;
  ports: PortLeases;
  /** Where cells are entered, so that a reaper finds what a crash leaves; left out: nowhere. */
  registry?: Registration | undefined;
  /** Limits how many servers start at the same time; share it between the spawners of one process. */
  boots?: LimitFunction;
  /** What cells that are made ahead are warmed up with; may be shared as well. */
  warmUps?: WarmUpModel;
}

export class AgentSpawner {
  readonly #site: SpawnerSite;
  readonly #parts: SpawnContext;
  readonly #warmUps: WarmUpModel;
  /** A cell is forgotten when its agent is; until then its metrics can be asked for. */
  readonly #cells = new WeakMap<SpawnedAgent, { cell: Cell; ended: Promise<LifecycleMetrics> | null }>();

  constructor({ site, ports, registry, boots, warmUps }: AgentSpawnerOptions) {
    this.#site = site;
    this.#warmUps = warmUps ?? new WarmUpModel();
    const atOnce = boots ?? pLimit(Math.max(2, availableParallelism()));
    const own = { disks: new DiskWatch(), shelf: new Shelf() };
    this.#parts = { site, ports, registry: registry ?? null, boots: atOnce, ...own };
  }

  /** Knows the secrets of all cells; what is told of one goes through it. */
  get redactor(): Redactor {
    return this.#site.redactor;
  }

  /** Name of this machine in the registry; null without one. */
  get host(): string | null {
    return this.#parts.registry?.cells.host ?? null;
  }

  /**
   * Validates, leases a port, makes a workspace and starts a server in it.
   * @throws {InvalidInput} naming every fault of `config`
   * @throws {CellpoolError} whose facts name the `step` that failed; nothing is left behind then
   */
  async spawnAgent(config: SpawnConfig, signal?: AbortSignal): Promise<SpawnedAgent> {
    const cell = await spawnCell(this.#parts, checkSpawnConfig(config), signal);
    const agent = agentOf(cell);
    this.#cells.set(agent, { cell, ended: null });
    return agent;
  }

  /**
   * Makes a cell ahead: workspace at the base's tip, server up and warm. The next `spawnAgent` whose config is like
   * this takes it, and has it within a fraction of a second. Used once, like any cell.
   * @throws as `spawnAgent`; nothing is left behind then
   */
  async prepareAgent(like: AgentKind = {}, signal?: AbortSignal): Promise<void> {
    this.#parts.shelf.put(await makeWarmCell(this.#parts, this.#warmUps, checkAgentKind(like), signal));
  }

  /** The cells that were made ahead and not used yet, oldest first. */
  get prepared(): readonly PreparedAgent[] {
    return this.#parts.shelf.cells.map(preparedAgentOf);
  }

  /** Removes a cell that was made ahead; harmless when it was taken already. Never throws. */
  async discardPrepared(cellId: string): Promise<void> {
    const cell = this.#parts.shelf.cells.find(({ id }) => id === cellId);
    if (cell !== undefined && this.#parts.shelf.remove(cell)) await removeAll(cell);
  }

  /** Runs the setup command in the fresh workspace, if the cell has one. @throws {CellpoolError} SETUP_FAILED */
  async setUp(agent: SpawnedAgent, signal?: AbortSignal): Promise<void> {
    const cell = this.#live(agent);
    await namingOutOfMemory(cell, () => setUp(this.#site, cell, signal));
  }

  /**
   * Runs one hook: the command the agent was spawned with, then `callback`, each within the hook's time limit. What
   * the two before the agent's work leave in the workspace is not committed. @throws {CellpoolError} HOOK_FAILED,
   * CANCELLED
   */
  async runHook(agent: SpawnedAgent, name: HookName, options: HookOptions = {}): Promise<void> {
    const cell = this.#live(agent);
    await namingOutOfMemory(cell, () => runHook(this.#site, cell, name, options));
  }

  /** Runs `onFailure` for an agent that could not be spawned; `error` is what `spawnAgent` threw. @throws as `runHook` */
  async runSpawnFailureHook(
    config: SpawnConfig,
    error: CellpoolError | null,
    options: HookOptions = {},
  ): Promise<void> {
    await runSpawnFailureHook(this.#site, config, error, options);
  }

  /** One session to its end, whatever ends it; how it ended is in the result, not thrown. */
  async executeTask(agent: SpawnedAgent, prompt: string, options?: ExecuteOptions): Promise<ExecutionResult> {
    const cell = this.#at(agent, 'execute');
    return serverOutOfMemory(cell, () => execute(cell, prompt, options));
  }

  /**
   * Ends the server and everything the agent started, so that what follows finds the workspace at rest: a process
   * left in the background would change files between the tests and the commit. No session can follow.
   * @throws {CellpoolError} INTERNAL when something survives
   */
  async stopServer(agent: SpawnedAgent): Promise<void> {
    await stopProcesses(this.#live(agent));
  }

  /** Whether the workspace differs from the base; git's answer, not the agent's. */
  async hasChanges(agent: SpawnedAgent): Promise<boolean> {
    return (await snapshot(this.#live(agent).workspace)).changed;
  }

  /** Runs the test command; its exit code is the verdict. @throws {CellpoolError} INVALID_INPUT without a command */
  async runTests(agent: SpawnedAgent, signal?: AbortSignal): Promise<TestResult> {
    return runTests(this.#site, this.#at(agent, 'test'), signal);
  }

  /**
   * `hasChanges` and, when there are some, `runTests`, with one look at the work for both; null: nothing changed.
   * `begins` is called before the command runs. @throws as `runTests`
   */
  async runTestsOfChanges(agent: SpawnedAgent, begins: () => void, signal?: AbortSignal): Promise<TestResult | null> {
    const cell = this.#live(agent);
    const begin = () => {
      begins();
      this.#at(agent, 'test');
    };
    return runTestsOfChanges(this.#site, cell, begin, signal);
  }

  /**
   * Commits the work on `cellpool/<task id>`: what the last `runTests` judged, or the workspace as it is when there
   * was none. Nothing changed: no commit. `facts` become trailers of the message. Just before the branch moves the
   * port must be proven to be leased to us, then `fence` is asked; when either throws nothing moves. Of a repository
   * that was named by URL the branch is the remote's, and `signal` ends the waiting for that.
   * @throws {CellpoolError} COMMIT_FAILED, BRANCH_CHECKED_OUT, LEASE_LOST, FENCED, and what `fence` throws; for a URL
   * BRANCH_TAKEN, PUSH_REFUSED, REMOTE_UNREACHABLE, REMOTE_REFUSED, CANCELLED
   */
  async commitChanges(agent: SpawnedAgent, message: string, extras: CommitExtras = {}): Promise<CommitResult> {
    return commitWork(this.#site, this.#at(agent, 'settle'), message, extras);
  }

  /** Saves the diff, then puts the working tree back exactly as at spawn. @throws {CellpoolError} REVERT_FAILED */
  async revertChanges(agent: SpawnedAgent): Promise<RevertResult> {
    return revertWork(this.#at(agent, 'settle'));
  }

  /** Removes all of the cell. Never throws; a second call, or one with null, is harmless. Times in milliseconds. */
  async teardownAgent(agent: SpawnedAgent | null | undefined): Promise<LifecycleMetrics> {
    const entry = agent ? this.#cells.get(agent) : undefined;
    if (entry === undefined) return { spawnMs: 0, executionMs: 0, teardownMs: 0, totalMs: 0 };
    entry.ended ??= teardown(entry.cell);
    return entry.ended;
  }

  /** Whether the agent's server is alive and answers as ours. */
  async isHealthy(agent: SpawnedAgent | null | undefined): Promise<boolean> {
    const entry = agent ? this.#cells.get(agent) : undefined;
    if (entry === undefined || entry.ended !== null || entry.cell.server.process.endedWith !== null) return false;
    return (await askHealth(entry.cell.server.baseUrl, entry.cell.password, HEALTH_MS)) !== null;
  }

  getCellInfo(agent: SpawnedAgent | null | undefined): CellInfo | null {
    const cell = agent ? this.#cells.get(agent)?.cell : undefined;
    return cell === undefined ? null : infoOf(cell);
  }

  /** The agent's cell, which enters this stage. */
  #at(agent: SpawnedAgent, stage: Stage): Cell {
    const cell = this.#live(agent);
    cell.registry?.stage(cell.id, stage);
    return cell;
  }

  #live(agent: SpawnedAgent): Cell {
    const entry = this.#cells.get(agent);
    if (entry !== undefined && entry.ended === null) return entry.cell;
    throw new CellpoolError(
      'INVALID_INPUT',
      `agent ${agent.id} has no cell${entry ? ' any more' : ' of this spawner'}`,
    );
  }
}
