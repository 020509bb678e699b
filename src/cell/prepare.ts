/**
 * Prepare: port, folder, workspace, server, in this order, each with its undo registered before it is done. A failure
 * undoes what was done and names its step. Nothing here knows the task that the cell is for, or will be.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { LimitFunction } from 'p-limit';
import { pinBase } from '../git/mirror.ts';
import type { Logger } from '../observe/logger.ts';
import { CleanupStack } from '../os/cleanup.ts';
import type { DiskWatch } from '../os/disk-watch.ts';
import type { Bounds } from '../os/resource-limits.ts';
import { whileWanted } from '../os/within.ts';
import { WARM } from '../redis/cell-record.ts';
import type { PortLeases } from '../redis/port-lease.ts';
import type { CellRegistry } from '../redis/registry.ts';
import type { CellServer, PreparedCell } from './cell.ts';
import { loginOf, secretsOfServer, serverEnvironment } from './environment.ts';
import { HeldPort, isBindable } from './held-port.ts';
import { inTurn } from './in-turn.ts';
import { modelHosts } from './model-hosts.ts';
import { beginTools } from './own-tools.ts';
import { makePlace } from './place.ts';
import { type RecordedTask, type Registration, register } from './registration.ts';
import { bootServer, opencodeConfig } from './server.ts';
import type { CellKind } from './spawn-config.ts';
import { spawnFault } from './spawn-fault.ts';
import type { SpawnerSite } from './spawner-site.ts';
import { stopProcesses } from './stop-processes.ts';
import { removeAll } from './teardown.ts';
import { addWarmUpModel, type WarmUpEndpoint } from './warm-up-model.ts';

/** Servers that found their port taken after all, one after another, before it is called a failure. */
const BOOT_TRIES = 5;

/** What all cells of a spawner are made with. */
export interface CellParts {
  site: SpawnerSite;
  ports: PortLeases;
  registry: Registration | null;
  disks: DiskWatch;
  /** Starting a server costs 2.5 CPU seconds; started all at once they would all run into their time limit. */
  boots: LimitFunction;
}

export interface Preparation {
  id: string;
  kind: CellKind;
  task: RecordedTask;
  /** Short name of the branch the agent is to find itself on. */
  branch: string;
  /** Folder for its logs, which is there; null: one of the cell's own. */
  artifacts: string | null;
  log: Logger;
  /** A model that it may call besides; the way to it ends with `close`. */
  warmUp?: WarmUpEndpoint | undefined;
}

/** @throws {CellpoolError} whose facts name the `step` that failed; nothing of the cell is left then. */
export async function prepareCell(
  { site, ports, registry: registration, disks, boots }: CellParts,
  { id, kind, task, branch, log, warmUp, ...given }: Preparation,
  signal?: AbortSignal,
): Promise<PreparedCell> {
  const dir = join(site.home, 'cells', id);
  const artifacts = given.artifacts ?? join(dir, 'artifacts');
  const cleanup = new CleanupStack();
  const registry = registration?.cells ?? null;
  // Redis may be away for long, and a cell that is not wanted any more does not wait for it.
  const enter = (changes: Parameters<CellRegistry['update']>[1]) =>
    whileWanted(signal, Promise.resolve(registry?.update(id, changes)));
  let step = 'registry';
  let bounds: Bounds | null = null;
  try {
    if (registration !== null) {
      await whileWanted(
        signal,
        register(registration, { id, task, site, artifacts, stage: task.taskId === null ? WARM : 'spawn' }),
      );
    }

    step = 'port lease';
    const port = await HeldPort.take(ports, id, log, signal);
    cleanup.add(step, () => port.release());
    await enter({ port: port.lease });

    const worktree = site.workspace === 'worktree' ? { source: site.source, id } : null;
    const place = await makePlace({
      ...{ site, disks, id, artifacts: given.artifacts, branch, worktree, cleanup, enter },
      at: name => {
        step = name;
      },
      pin: () => pinBase(site.mirror, site.source, kind.branch, id, signal, kind.commit),
    });
    const { folders, disk, workspace } = place;
    const limits = place.bounds;
    bounds = limits;

    step = 'tools';
    const { workspacePath } = workspace;
    const { grounds, redactor, binary, bootMs } = site;
    const own = { folders, artifacts, grounds, redactor, log, limits: limits.ofCommand };
    const tools = beginTools(site, { cellId: id, dir, cwd: workspacePath, allowed: [], ...own }, kind);
    cleanup.add(step, () => tools.stop());

    step = 'server';
    let server: CellServer | null = null;
    cleanup.add(step, () => stopProcesses({ id, dir, server, bounds: limits }));
    const password = randomBytes(24).toString('base64url');
    const setting = { workspacePath, model: kind.model, isolation: grounds.isolation.level };
    const opencode = opencodeConfig(setting, site.opencode, kind.opencode);
    const model = kind.model ?? (typeof opencode.model === 'string' ? opencode.model : undefined);
    const config = addWarmUpModel(opencode, warmUp);
    const ofModel = [loginOf(model), site.models.fileFor(config, model)] as const;
    const [profile, login, models] = await Promise.all([site.profile(), ...ofModel]);
    const env = await serverEnvironment({
      profile,
      models,
      cellId: id,
      folders,
      configFolder: site.configFolder,
      config,
      password,
      model,
      login,
      passed: site.env.server,
    });
    const giveUpSecrets = redactor.add(secretsOfServer(env, opencode));
    cleanup.add('secrets', async () => giveUpSecrets());
    const allowed = [...modelHosts(opencode), ...kind.allow];
    if (warmUp !== undefined) {
      allowed.push(warmUp.host);
      // Where only these can be called, it is looked here at every call.
      warmUp.whenClosed(() => allowed.splice(allowed.indexOf(warmUp.host), 1));
    }
    const boot = { grounds, binary, bootMs, workspacePath, log };
    server = await inTurn(boots, signal, async () => {
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
    log.debug({ profile }, 'server ready');
    return {
      ...{
        id,
        kind,
        dir,
        folders,
        artifacts,
        port,
        disk,
        workspace,
        server,
        registry,
        password,
        redactor,
        log,
        cleanup,
      },
      python: await tools.python,
      isolation: setting.isolation,
      ...{ model, login },
      bounds: limits,
      createdAt: new Date(),
    };
  } catch (error) {
    // Asked before the cell's group, which counts that, is removed.
    const outOfMemory = (await bounds?.outOfMemorySince(0)) ?? null;
    await removeAll({ id, cleanup, registry, log });
    throw spawnFault({ step, artifacts, cellId: id }, outOfMemory ?? error, signal);
  }
}
