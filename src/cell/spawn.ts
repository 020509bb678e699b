/**
 * Spawn: port, folder, workspace, server, in this order, each with its undo registered before it is done. A failure
 * undoes what was done and names its step.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LimitFunction } from 'p-limit';
import { CellpoolError } from '../errors.ts';
import { pinBase, unpin } from '../git/mirror.ts';
import { branchOf } from '../job/names.ts';
import { makeArtifactFolder } from '../observe/artifacts.ts';
import { CleanupStack } from '../os/cleanup.ts';
import type { DiskWatch } from '../os/disk-watch.ts';
import { Bounds } from '../os/resource-limits.ts';
import { whileWanted } from '../os/within.ts';
import type { PortLeases } from '../redis/port-lease.ts';
import type { CellRecord, CellRegistry } from '../redis/registry.ts';
import { forgetAgentGit } from './agent-git.ts';
import type { Cell, CellServer } from './cell.ts';
import { makeCellFolders, secretsOfServer, serverEnvironment } from './environment.ts';
import { HeldPort, isBindable } from './held-port.ts';
import { inTurn } from './in-turn.ts';
import { modelHosts } from './model-hosts.ts';
import { beginTools } from './own-tools.ts';
import { bootServer, opencodeConfig } from './server.ts';
import type { CheckedSpawnConfig } from './spawn-config.ts';
import { atStep } from './spawn-fault.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { stopProcesses } from './stop-processes.ts';
import { branchBefore } from './task-branch.ts';
import { removeAll } from './teardown.ts';
import { UsageCounter } from './watch.ts';
import { makeWorkspace, removeWorkspace } from './workspace.ts';

/** Servers that found their port taken after all, one after another, before it is called a failure. */
const BOOT_TRIES = 5;

export interface SpawnContext {
  site: SpawnerSite;
  ports: PortLeases;
  registry: Registration | null;
  disks: DiskWatch;
  /** Starting a server costs 2.5 CPU seconds; started all at once they would all run into their time limit. */
  boots: LimitFunction;
}

/** Where a cell is entered before it exists, and by whom. */
export interface Registration {
  cells: CellRegistry;
  worker: CellRecord['worker'];
}

/** @throws {CellpoolError} whose facts name the `step` that failed; nothing of the cell is left then. */
export async function spawnCell(
  context: SpawnContext,
  config: CheckedSpawnConfig,
  signal?: AbortSignal,
): Promise<Cell> {
  const began = performance.now();
  const { site } = context;
  const id = `${config.taskId}.${randomBytes(4).toString('hex')}`;
  const log = site.log.child({ task: config.taskId, attempt: config.attempt, cell: id });
  const dir = join(site.home, 'cells', id);
  const branch = branchOf(config.taskId);
  const cleanup = new CleanupStack();
  const registry = context.registry?.cells ?? null;
  // Redis may be away for long, and a cell that is not wanted any more does not wait for it.
  const enter = (changes: Parameters<CellRegistry['update']>[1]) =>
    whileWanted(signal, Promise.resolve(registry?.update(id, changes)));
  let step = 'artifact folder';
  let artifacts = '';
  let bounds: Bounds | null = null;
  try {
    artifacts = await makeArtifactFolder(site.home, config.taskId, `${config.attempt}-${id.slice(-8)}`);

    step = 'registry';
    if (context.registry !== null) {
      await whileWanted(signal, register(context.registry, { id, config, site, artifacts }));
    }

    step = 'port lease';
    const port = await HeldPort.take(context.ports, id, log, signal);
    cleanup.add(step, () => port.release());
    await enter({ port: port.lease });

    step = 'cell folder';
    cleanup.add(step, () => removeWorkspace(dir));
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const folders = await makeCellFolders(dir);

    step = 'limits';
    const limits = await Bounds.plan(site.home, id, site.limits);
    if (limits.groups.length > 0) await enter({ groups: [...limits.groups] });
    cleanup.add(step, () => limits.remove());
    await limits.make();
    bounds = limits;
    const disk = context.disks.watch(dir, site.limits.diskMb);
    cleanup.add('disk watch', async () => disk.stop());

    step = 'workspace';
    cleanup.add('base pin', () => unpin(site.mirror, id));
    // Not beside the pinning: were it refused, the pin would still be set after it had been undone.
    const before = await branchBefore(site.source, branch, config.taskId, signal);
    const commit = await pinBase(site.mirror, site.source, config.branch, id, signal);
    const worktree = site.workspace === 'worktree' ? { source: site.source, id } : null;
    cleanup.add('worktree', () => forgetAgentGit({ worktree }));
    if (worktree !== null) await enter({ worktree: site.source.gitDir });
    const workspace = await makeWorkspace({ mirror: site.mirror, commit, cellDir: dir, branch, worktree });

    step = 'tools';
    const { workspacePath } = workspace;
    const { grounds, redactor, binary, bootMs } = site;
    const own = { folders, artifacts, grounds, redactor, log, limits: limits.ofCommand };
    const tools = beginTools(site, { cellId: id, dir, cwd: workspacePath, allowed: [], ...own }, config);
    cleanup.add(step, () => tools.stop());

    step = 'server';
    let server: CellServer | null = null;
    cleanup.add(step, () => stopProcesses({ id, dir, server, bounds: limits }));
    const password = randomBytes(24).toString('base64url');
    const setting = { workspacePath, model: config.model, isolation: grounds.isolation.level };
    const opencode = opencodeConfig(setting, site.opencode, config.opencode);
    const profile = await site.profile();
    const env = await serverEnvironment({
      profile,
      cellId: id,
      folders,
      configFolder: site.configFolder,
      config: opencode,
      password,
      model: config.model ?? (typeof opencode.model === 'string' ? opencode.model : undefined),
      passed: site.env.server,
    });
    const giveUpSecrets = redactor.add(secretsOfServer(env, opencode));
    cleanup.add('secrets', async () => giveUpSecrets());
    const allowed = [...modelHosts(opencode), ...config.allow];
    const boot = { grounds, binary, bootMs, workspacePath, log };
    server = await inTurn(context.boots, signal, async () => {
      for (let tries = 1; ; tries += 1) {
        // It may have waited long for its turn.
        signal?.throwIfAborted();
        const python = await whileWanted(signal, tools.python);
        try {
          return await bootServer({
            ...boot,
            env,
            cell: { cellId: id, dir, folders, allowed, python },
            password,
            artifacts,
            redactor,
            signal,
            port: port.lease.port,
            limits: limits.ofServer,
            onStart: process => enter({ server: process }),
          });
        } catch (error) {
          if (tries >= BOOT_TRIES || signal?.aborted || (await isBindable(port.lease.port))) throw error;
          log.warn({ port: port.lease.port }, 'another process took the port while the server started');
          await whileWanted(signal, port.exchange());
          await enter({ port: port.lease });
        }
      }
    });

    await whileWanted(signal, tools.ready);
    const spawnMs = Math.round(performance.now() - began);
    log.info({ port: port.lease.port, server: server.process.pid, profile, spawnMs }, 'cell spawned');
    return {
      id,
      config,
      dir,
      folders,
      python: await tools.python,
      artifacts,
      isolation: setting.isolation,
      branch,
      branchBefore: before,
      port,
      bounds: limits,
      disk,
      workspace,
      server,
      registry,
      password,
      redactor,
      createdAt: new Date(),
      log,
      cleanup,
      began,
      spawnMs,
      usage: new UsageCounter(),
      executionMs: 0,
      tokensUsed: 0,
      costUsd: 0,
      snapshot: null,
    };
  } catch (error) {
    // Asked before the cell's group, which counts that, is removed.
    const outOfMemory = (await bounds?.outOfMemorySince(0)) ?? null;
    await removeAll({ id, cleanup, registry, log });
    if (signal?.aborted) {
      const facts = { step, artifacts, cellId: id };
      throw new CellpoolError('CANCELLED', `cancelled during spawn, at step "${step}"`, { facts });
    }
    throw atStep({ step, artifacts, cellId: id }, outOfMemory ?? error);
  }
}

function register(
  { cells, worker }: Registration,
  { id, config, site, artifacts }: { id: string; config: CheckedSpawnConfig; site: SpawnerSite; artifacts: string },
): Promise<void> {
  return cells.register({
    version: 1,
    cellId: id,
    host: cells.host,
    home: site.home,
    worker,
    taskId: config.taskId,
    attempt: config.attempt,
    job: config.job ?? null,
    repository: site.source.path,
    mirror: site.mirror.path,
    artifacts,
    isolation: site.grounds.isolation.level,
    workspace: join(site.home, 'cells', id, 'workspace'),
    port: null,
    server: null,
    stage: 'spawn',
    abandoned: false,
    createdAt: Date.now(),
  });
}
