/**
 * The whole life of an attempt, in the order it happens:
 *
 *     spawn -> (setup) -> execute -> test -> commit or revert -> teardown
 *
 * with the operator's hooks in between. Nothing else knows this order. Each step stands in a file beside this one;
 * `AgentSpawner` calls them.
 */
import { asCellpoolError, CellpoolError } from '../errors.ts';
import type { AttemptResult, Stage } from '../job/outcome.ts';
import { ARTIFACTS, writeArtifact } from '../observe/artifacts.ts';
import type { AgentSpawner } from './agent-spawner.ts';
import { AttemptFacts } from './attempt-facts.ts';
import { AttemptHooks } from './attempt-hooks.ts';
import type { HookCallbacks } from './hook-facts.ts';
import type { ProviderListeners } from './provider-trouble.ts';
import type { SpawnConfig } from './spawn-config.ts';
import type { SpawnedAgent } from './spawned-agent.ts';

export interface CellRun extends ProviderListeners {
  config: SpawnConfig;
  prompt: string;
  /** First line of the commit message. */
  subject: string;
  /** Cancels the attempt at whatever stage it is; teardown runs all the same. */
  signal: AbortSignal;
  /** Asked just before a branch moves; when it throws, nothing is committed. */
  fence?: (() => Promise<void>) | undefined;
  /** Called after the command of the same hook; its commands stand in `config`. */
  hooks?: HookCallbacks | undefined;
  onStage(stage: Stage, agent: SpawnedAgent | null): void;
  /** Of the attempt so far, in all. */
  onUsage(tokens: number, costUsd: number): void;
  /** Ends the agent's session, and nothing else, when it is aborted; see `ExecuteOptions`. */
  usedUp?: AbortSignal | undefined;
}

/** Runs one attempt to its outcome. Never throws: whatever went wrong is in the result. */
export async function runCell(spawner: AgentSpawner, run: CellRun): Promise<AttemptResult> {
  const { config, signal } = run;
  const facts = new AttemptFacts(config, spawner.redactor, spawner.host);
  const hooks = new AttemptHooks({ spawner, facts, config, signal, callbacks: run.hooks });
  let agent: SpawnedAgent | null = null;
  const enter = (stage: Stage) => {
    facts.enters(stage);
    tell(() => run.onStage(stage, agent));
  };
  try {
    enter('spawn');
    agent = await spawner.spawnAgent(config, signal);
    facts.spawned(spawner.getCellInfo(agent));
    await hooks.mustPass('afterSpawn', agent);
    await spawner.setUp(agent, signal);
    await hooks.mustPass('beforeExecute', agent);

    enter('execute');
    const execution = await spawner.executeTask(agent, run.prompt, {
      signal,
      onUsage: usage => tell(() => run.onUsage(usage.tokens, usage.costUsd)),
      usedUp: run.usedUp,
      ...providerNews(run),
    });
    facts.executed(execution);
    await spawner.stopServer(agent);
    await hooks.report('afterExecute', agent);

    if (execution.ended === 'idle' && config.test !== undefined) {
      const tests = await spawner.runTestsOfChanges(agent, () => enter('test'), signal);
      if (tests !== null) {
        facts.tested(tests);
        await hooks.report('afterTests', agent);
      }
    }

    enter('settle');
    if (signal.aborted) throw new CellpoolError('CANCELLED', 'the attempt was cancelled');
    const extras = { fence: run.fence, signal };
    if (facts.worthKeeping) facts.settled(await spawner.commitChanges(agent, run.subject, extras));
  } catch (error) {
    facts.failed(asCellpoolError(error));
  }
  // Before the revert, so that it sees what the agent left.
  if (!facts.worthKeeping) await hooks.report('onFailure', agent);
  if (agent !== null && !facts.worthKeeping) {
    await spawner.revertChanges(agent).then(facts.reverted, facts.alsoFailed);
  }
  if (agent !== null) await hooks.report('beforeTeardown', agent);
  enter('teardown');
  facts.metrics = await spawner.teardownAgent(agent);
  const result = facts.result(agent?.tokensUsed ?? 0);
  if (result.artifacts !== '') await writeArtifact(result.artifacts, ARTIFACTS.result, result).catch(() => undefined);
  return result;
}

function providerNews(run: ProviderListeners): ProviderListeners {
  return {
    onProviderTrouble: trouble => tell(() => run.onProviderTrouble?.(trouble)),
    onProviderWell: () => tell(() => run.onProviderWell?.()),
  };
}

/** Progress is news: whoever is told of it may fail, the attempt and its teardown do not. */
function tell(news: () => void): void {
  try {
    news();
  } catch {
    // The one who listens knows best what went wrong with listening.
  }
}
