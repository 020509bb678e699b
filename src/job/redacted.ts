/** A result without the secrets that somebody knows: it goes to Redis, into files and into the next prompt. */
import type { Redactor } from '../observe/redact.ts';
import type { AttemptResult } from './outcome.ts';

/** By these things are found again; none of them is what an agent, a command or a server said. */
const NAMES = new Set(['taskId', 'outcome', 'branch', 'commit', 'artifacts', 'code', 'hook']);

export function redactedResult(result: AttemptResult, redactor: Redactor): AttemptResult {
  return redactor.deep(result, NAMES);
}
