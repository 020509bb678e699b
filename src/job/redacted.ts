/** What goes to Redis, into files and into the next prompt, without the secrets that somebody knows. */
import type { Redactor } from '../observe/redact.ts';
import type { Returned } from './job.ts';
import type { AttemptResult } from './outcome.ts';

/** By these things are found again; none of them is what an agent, a command or a server said. */
const NAMES = new Set(['taskId', 'outcome', 'branch', 'commit', 'artifacts', 'code', 'hook']);
const NAMES_OF_RETURN = new Set(['commit', 'target', 'tip', 'why']);

export function redactedResult(result: AttemptResult, redactor: Redactor): AttemptResult {
  return redactor.deep(result, NAMES);
}

export function redactedReturn(returned: Returned, redactor: Redactor): Returned {
  return redactor.deep(returned, NAMES_OF_RETURN);
}
