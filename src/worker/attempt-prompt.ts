/** The prompt of an attempt: the task's own words, then what the attempt before it came to. */
import type { AttemptResult } from '../job/outcome.ts';
import type { Task } from '../job/task.ts';

/** Characters of the last failure that the agent is shown. */
const FAILURE_MAX = 4_000;
const FILES_MAX = 50;

export function attemptPrompt(task: Task, attempt: number, last: AttemptResult | undefined): string {
  const which = `Attempt ${attempt} of ${task.attempts}.`;
  const test = task.test === undefined ? [] : [`Your work is judged by this command: ${task.test}`];
  if (last === undefined) return [task.prompt, '---', which, ...test].join('\n\n');
  return [task.prompt, '---', which, ...test, ...whatHappened(last)].join('\n\n');
}

function whatHappened(last: AttemptResult): string[] {
  const lines = [`The attempt before this one ended "${last.outcome}" and its changes were taken back.`];
  const changed = last.diffSummary ?? last.filesModified.slice(0, FILES_MAX).join('\n');
  if (changed !== '') lines.push(`It had changed these files (lines added and removed):\n\n${changed}`);
  if (last.error !== null) lines.push(`What went wrong:\n\n${last.error.message.slice(-FAILURE_MAX)}`);
  return lines;
}
