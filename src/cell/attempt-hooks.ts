/** The hooks of one attempt: which of them may fail it, which only report, and which a cancellation cuts short. */
import { asCellpoolError } from '../errors.ts';
import type { HookName } from '../job/hooks.ts';
import type { AgentSpawner } from './agent-spawner.ts';
import type { AttemptFacts } from './attempt-facts.ts';
import type { HookCallbacks } from './hook-facts.ts';
import type { SpawnConfig } from './spawn-config.ts';
import type { SpawnedAgent } from './spawned-agent.ts';

export interface AttemptHooksOptions {
  spawner: AgentSpawner;
  facts: AttemptFacts;
  config: SpawnConfig;
  callbacks: HookCallbacks | undefined;
  /** Of the attempt. */
  signal: AbortSignal;
}

/** They clear up, which is wanted all the more of an attempt that was cancelled; their own limit bounds them. */
const AFTER_THE_END: ReadonlySet<HookName> = new Set(['onFailure', 'beforeTeardown']);

export class AttemptHooks {
  readonly #of: AttemptHooksOptions;

  constructor(options: AttemptHooksOptions) {
    this.#of = options;
  }

  /** @throws {CellpoolError} HOOK_FAILED, CANCELLED */
  async mustPass(name: 'afterSpawn' | 'beforeExecute', agent: SpawnedAgent): Promise<void> {
    await this.#run(name, agent);
  }

  /** What goes wrong is kept for the result, and changes nothing. */
  async report(name: Exclude<HookName, 'afterSpawn' | 'beforeExecute'>, agent: SpawnedAgent | null): Promise<void> {
    try {
      await this.#run(name, agent);
    } catch (thrown) {
      const error = asCellpoolError(thrown);
      // Cut short by a cancellation: the attempt says so itself.
      if (error.code !== 'CANCELLED') this.#of.facts.hookFailed(name, error);
    }
  }

  async #run(name: HookName, agent: SpawnedAgent | null): Promise<void> {
    const { spawner, facts, config, callbacks, signal } = this.#of;
    const callback = callbacks?.[name];
    const options = { ...facts.soFar, callback, ...(AFTER_THE_END.has(name) ? {} : { signal }) };
    if (agent === null) await spawner.runSpawnFailureHook(config, facts.error, options);
    else await spawner.runHook(agent, name, options);
  }
}
