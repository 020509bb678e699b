/** What `run` and `enqueue` are given: tasks from a file, standard input or flags, checked against their repository. */
import { DEFAULTS, type Settings } from '../config.ts';
import { InvalidInput } from '../errors.ts';
import type { Source } from '../git/source.ts';
import type { Plan } from '../job/job.ts';
import { parseTask, type TaskInput } from '../job/task.ts';
import { checkTasksAgainst } from '../producer/check-source.ts';
import { type PlacedTask, readTasks } from '../producer/tasks-file.ts';
import { openPlace } from './target-place.ts';
import type { TargetFlags, TaskFlags } from './task-flags.ts';

export interface Target {
  settings: Settings;
  /** As jobs name it: a path, or a URL. */
  repository: string;
  /** null for a URL. */
  source: Source | null;
  plan: Plan;
  /** What a task gets that it does not say itself. */
  defaults: Partial<TaskInput>;
  /** @throws {InvalidInput} with every task that this repository has no place for, or that names no model */
  check(tasks: readonly PlacedTask[]): Promise<void>;
}

export interface TaskCall extends Pick<Target, 'settings' | 'repository' | 'source'> {
  tasks: PlacedTask[];
  plan: Plan;
}

/**
 * `mustReach`: a URL has to answer here, and not only to workers elsewhere.
 * @throws {InvalidInput} naming every fault; {CellpoolError} NOT_A_REPOSITORY, NO_SUCH_REMOTE; REMOTE_UNREACHABLE and
 * REMOTE_REFUSED with `mustReach`
 */
export async function openTarget(flags: TargetFlags, mustReach = false): Promise<Target> {
  const { settings, repository, source, facts } = await openPlace(flags, mustReach);
  const { limits, test, model, agent, taskLabels, opencode } = settings;
  const { timeoutMs, tokenBudget, costBudgetUsd, stallMs, loopRepeats } = limits;
  const { attempts, totalTimeoutMs, totalTokenBudget } = limits;
  const ofOne = { timeoutMs, tokenBudget, costBudgetUsd, stallMs, loopRepeats };
  const ofAll = { attempts, totalTimeoutMs, totalTokenBudget };
  // What asks for nothing is not said: tasks that were put on the queue before it could be said are the same then.
  const landing = { land: settings.land === 'none' ? undefined : settings.land, landOn: settings.landOn };
  const all = { base: flags.base, test, model, agent, labels: taskLabels, ...ofOne, ...ofAll, ...landing };
  const defaults = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const check = async (tasks: readonly PlacedTask[]) => {
    await checkTasksAgainst(tasks, await facts());
    if (typeof opencode.model !== 'string') refuseWithoutModel(tasks);
  };
  return { settings, repository, source, plan: planOf(settings), defaults, check };
}

/** @throws as `openTarget` */
export async function readTaskCall(file: string | undefined, flags: TaskFlags, mustReach = false): Promise<TaskCall> {
  const { settings, repository, source, plan, defaults, check } = await openTarget(flags, mustReach);
  const tasks = await readGiven(file, flags, defaults);
  await check(tasks);
  return { settings, repository, source, tasks, plan };
}

/** What nobody asked for is left out: a plan that says nothing new is equal to the one stored before. */
export function planOf(settings: Settings): Plan {
  const { limits, setup, author, opencode, hooks, retryOverBudget, isolation, python, caches } = settings;
  const { setupMs, testMs, hookMs } = limits;
  const landing = landingOf(settings);
  return {
    setupMs,
    testMs,
    author,
    opencode,
    ...(setup === undefined ? {} : { setup }),
    ...(Object.keys(hooks).length === 0 ? {} : { hooks, hookMs }),
    ...(retryOverBudget ? { retryOverBudget } : {}),
    ...(isolation.allow.length === 0 ? {} : { allow: isolation.allow }),
    ...(python === 'auto' ? {} : { python }),
    ...(caches === 'cell' ? {} : { caches }),
    ...(Object.keys(landing).length === 0 ? {} : { landing }),
  };
}

function landingOf({ landing: { remote, returns, removeBranch } }: Settings): NonNullable<Plan['landing']> {
  return {
    ...(remote === DEFAULTS.landing.remote ? {} : { remote }),
    ...(returns === DEFAULTS.landing.returns ? {} : { returns }),
    ...(removeBranch ? { removeBranch } : {}),
  };
}

/** Left to itself, opencode chooses a model, which may be somebody's hosted one that nobody meant to send code to. */
function refuseWithoutModel(tasks: readonly PlacedTask[]): void {
  const without = tasks.filter(({ task }) => task.model === undefined);
  if (without.length === 0) return;
  const what = 'names no model: give --model provider/model, or "model" in the task or in cellpool.yaml';
  throw new InvalidInput(without.map(({ where }) => ({ where, what })));
}

async function readGiven(
  file: string | undefined,
  flags: TaskFlags,
  defaults: Partial<TaskInput>,
): Promise<PlacedTask[]> {
  const single = flags.id !== undefined || flags.prompt !== undefined;
  if (file !== undefined && single) throw new InvalidInput([{ where: '--id', what: 'goes without a file of tasks' }]);
  if (file !== undefined) return readTasks({ path: file }, defaults);
  if (!single) throw new InvalidInput([{ where: 'tasks', what: 'name a file of tasks, -, or --id and --prompt' }]);
  const missing = (['id', 'prompt'] as const).filter(name => flags[name] === undefined);
  if (missing.length > 0) {
    throw new InvalidInput(missing.map(name => ({ where: `--${name}`, what: 'is missing: a single task needs both' })));
  }
  const { task, faults } = parseTask({ id: flags.id, prompt: flags.prompt }, '--id', defaults);
  if (task === null) throw new InvalidInput(faults);
  return [{ task, where: '--id', baseGiven: flags.base !== undefined }];
}
