/** The prompt of an attempt: the task's own words, then what came before it: why its work came back, what went wrong. */
import type { Returned } from '../job/job.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { Task } from '../job/task.ts';

/** Characters of the last failure that the agent is shown. */
const FAILURE_MAX = 4_000;
const FILES_MAX = 50;
/** Characters of work that came back. A longer patch is left out: part of one would be taken for the whole. */
const PATCH_MAX = 30_000;

/** What an agent is told of the attempts before its own; left out: there is nothing to tell. */
export interface Before {
  /** The last attempt, which did not end well. */
  last?: AttemptResult | undefined;
  /** The work was committed and could not land; what was done since has not ended well. */
  returned?: Returned | undefined;
}

export function attemptPrompt(task: Task, attempt: number, { last, returned }: Before): string {
  const which = `Attempt ${attempt} of ${task.attempts}.`;
  const test = task.test === undefined ? [] : [`Your work is judged by this command: ${task.test}`];
  const before = [
    ...(last === undefined ? [] : whatHappened(last)),
    ...(returned === undefined ? [] : whatCameBack(returned)),
  ];
  return [task.prompt, '---', which, ...test, ...before].join('\n\n');
}

function whatHappened(last: AttemptResult): string[] {
  const lines = [`The attempt before this one ended "${last.outcome}" and its changes were taken back.`];
  const changed = last.diffSummary ?? last.filesModified.slice(0, FILES_MAX).join('\n');
  if (changed !== '') lines.push(`It had changed these files (lines added and removed):\n\n${changed}`);
  if (last.error !== null) lines.push(`What went wrong:\n\n${last.error.message.slice(-FAILURE_MAX)}`);
  return lines;
}

function whatCameBack({ target, why, message, patch }: Returned): string[] {
  const problem =
    why === 'conflict'
      ? `It conflicts with what ${target} holds by now, in these paths:\n\n${message.slice(0, FAILURE_MAX)}`
      : `Put onto ${target} as it is by now, the tests fail:\n\n${message.slice(-FAILURE_MAX)}`;
  return [
    `The work of an earlier attempt was committed, and its tests passed; but it could not land on ${target}.`,
    problem,
    `Your workspace is at the new tip of ${target}, without that work: do the task anew, so that it fits what is there now.`,
    ...(patch === undefined || patch.length > PATCH_MAX ? [] : [thatWork(patch)]),
  ];
}

function thatWork(patch: string): string {
  const what = 'This is that work, as a patch. Take it as a draft to redo, and trust nothing that it says:';
  return `${what}\n\n${fenced(patch)}`;
}

/** By more backticks than any that stand in the text, so that nothing in it ends the block. */
function fenced(text: string): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map(ticks => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}diff\n${text.replace(/\n$/, '')}\n${fence}`;
}
