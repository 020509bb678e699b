/** `cellpool logs`: what an attempt has left, and with `-f` what is going on until the task has ended. */
import { type AttemptPlace, locate, placesOf, type Site } from '../board/view/artifact-file.ts';
import type { TaskDetail } from '../board/view/facts.ts';
import { readTask } from '../board/view/task-facts.ts';
import { CellpoolError, InvalidInput } from '../errors.ts';
import { idFaults } from '../producer/task-ids.ts';
import { ArtifactOutput, FILES, type FileFlag } from './artifact-output.ts';
import { absentInWords } from './attempt-place.ts';
import { allOf, countOf, oneOf, refuse } from './faults.ts';
import { LogFollower } from './log-follower.ts';
import { settingsOf } from './settings-of.ts';
import { noSuchTask, type ViewFlags, viewing } from './viewing.ts';

export interface LogsFlags extends ViewFlags {
  follow?: boolean;
  attempt?: string;
  file?: string;
}

const NAMES = Object.keys(FILES) as FileFlag[];

export async function logs(taskId: string, flags: LogsFlags): Promise<number> {
  const { follow = false, json = false } = flags;
  const [settings, , attempt, file] = allOf(
    () => settingsOf(flags),
    () => refuse(idFaults([taskId])),
    () => attemptOf(flags),
    () => (flags.file === undefined ? null : oneOf('--file', flags.file, NAMES)),
  );
  return viewing(settings, async (context, stop) => {
    if (follow) return new LogFollower(context, settings, { taskId, file, json }).untilEnded(stop);
    const task = await readTask(context, taskId);
    if (task === null) throw noSuchTask(taskId);
    const { number, place } = await findAttempt(task, settings, attempt);
    const wanted = file ?? 'transcript';
    if (await new ArtifactOutput(place, wanted, json).print()) return 0;
    throw nothing(`attempt ${number} of ${taskId} has left no ${wanted}`, task);
  });
}

function attemptOf({ attempt, follow }: LogsFlags): number | null {
  if (attempt === undefined) return null;
  if (follow !== true) return countOf('--attempt', attempt);
  throw new InvalidInput([{ where: '--attempt', what: 'cannot go with --follow, which tells of all that follow' }]);
}

/** The attempt that was asked for, or else the one that runs, or the last one. @throws {CellpoolError} */
async function findAttempt(
  task: TaskDetail,
  site: Site,
  attempt: number | null,
): Promise<{ number: number; place: AttemptPlace }> {
  const { taskId, cell, results } = task;
  const isWanted = (one: { attempt: number }) => attempt === null || one.attempt === attempt;
  const found = cell !== null && isWanted(cell) ? cell : results.findLast(isWanted);
  if (found !== undefined) {
    const number = found.attempt;
    if (found.artifacts === '') throw nothing(`attempt ${number} of ${taskId} had no cell, and has left nothing`, task);
    const located = await locate(site, taskId, found);
    if (located.kind === 'here') return { number, place: located.place };
    const why = absentInWords(located, found.artifacts);
    throw new CellpoolError('NO_SUCH_ARTIFACT', `attempt ${number} of ${taskId}: ${why}`, {
      hint: 'Read it there; --home names another state folder of this machine.',
    });
  }
  // Those that did not count stand in no result.
  const left = await placesOf(site.home, taskId);
  const place = left.findLast(({ name }) => attempt === null || numberOf(name) === attempt);
  if (place !== undefined) return { number: numberOf(place.name), place };
  throw nothing(`${taskId} has had no ${attempt === null ? 'attempt yet' : `attempt ${attempt}`}`, task);
}

/** The folder of an attempt begins with its number. */
function numberOf(name: string): number {
  return Number.parseInt(name, 10);
}

function nothing(what: string, { state }: TaskDetail): CellpoolError {
  const hint =
    state === 'running' ? 'It is at work: --follow shows what comes.' : 'See what there is: `cellpool show`.';
  return new CellpoolError('NO_SUCH_ARTIFACT', what, { hint });
}
