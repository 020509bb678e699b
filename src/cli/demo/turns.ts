/**
 * A script read as turns of a conversation. A turn is one answer of the model: what happens before it, what it
 * says, the tools it calls. The model keeps no memory of where it is: turn n follows n answers with tool calls.
 */
import type { Fail, ScriptStep, Tokens } from './script.ts';

/** Reported by answers until a `tokens` step says otherwise. */
const DEFAULT_TOKENS: Tokens = { input: 100, output: 20 };

/** Something that comes before an answer, in the order of the script. */
export type Before = { think: number } | { fail: Fail } | { hang: true };

/** What the agent is told to do, before it is known how its tools are called. */
export type Action =
  | { kind: 'write'; files: Record<string, string> }
  | { kind: 'append'; files: Record<string, string> }
  | { kind: 'delete'; paths: string[] }
  | { kind: 'run'; command: string };

export interface Turn {
  before: Before[];
  /** Text of the answer; may be empty when it calls a tool. */
  say: string;
  tokens: Tokens;
  /** null ends the conversation. */
  action: Action | null;
}

/** The answer that comes after `done` answers with tool calls. */
export function turnAfter(done: number, steps: readonly ScriptStep[]): Turn {
  let tokens = DEFAULT_TOKENS;
  let before: Before[] = [];
  let said: string[] = [];
  let left = done;

  for (const step of steps) {
    if (step.tokens !== undefined) tokens = step.tokens;
    else if (step.say !== undefined) said.push(step.say);
    else if (step.think !== undefined) before.push({ think: step.think });
    else if (step.fail !== undefined) before.push({ fail: step.fail });
    else if (step.hang !== undefined) before.push({ hang: true });
    else if (step.forever !== undefined) {
      const action: Action = { kind: 'run', command: step.forever };
      // Only the pace is kept from the second time on; a text or an error belongs to the first.
      if (left === 0) return { before, say: said.join('\n'), tokens, action };
      return { before: before.filter(item => 'think' in item), say: '', tokens, action };
    } else {
      if (left === 0) return { before, say: said.join('\n'), tokens, action: actionOf(step) };
      left -= 1;
      before = [];
      said = [];
    }
  }
  return { before, say: said.length === 0 ? 'Done.' : said.join('\n'), tokens, action: null };
}

function actionOf(step: ScriptStep): Action {
  if (step.write !== undefined) return { kind: 'write', files: step.write };
  if (step.append !== undefined) return { kind: 'append', files: step.append };
  if (step.delete !== undefined) return { kind: 'delete', paths: step.delete };
  return { kind: 'run', command: step.run ?? 'true' };
}
