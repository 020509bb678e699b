/**
 * The script: what the scripted model does, written down in the task's own prompt. It is a fenced block named
 * `script` whose body is a YAML list of steps; every step has one action and, optionally, the attempts it is for.
 *
 *     ```script
 *     - think: 500
 *     - write:
 *         greet.js: |
 *           export const greet = () => 'hello';
 *     - attempt: 2
 *       run: node --test
 *     ```
 */
import { isDeepStrictEqual } from 'node:util';
import { parse, stringify, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { type Fault, InvalidInput, messageOf } from '../../errors.ts';
import { faultsOf } from '../../job/task.ts';

const attemptNumber = z.int().min(1);
const filesSchema = z
  .record(z.string().min(1), z.string())
  .refine(files => Object.keys(files).length > 0, 'names no file');
const commandSchema = z.string().refine(command => command.trim() !== '', 'may not be empty');

const tokensSchema = z.strictObject({
  input: z.int().min(0),
  output: z.int().min(0),
  /** Input that came from the provider's cache, on top of `input`. */
  cached: z.int().min(0).optional(),
  /** Part of the answer that was reasoning, on top of `output`. */
  reasoning: z.int().min(0).optional(),
});
/** What an answer reports as used. */
export type Tokens = z.infer<typeof tokensSchema>;

const failSchema = z.strictObject({
  status: z.int().min(400).max(599),
  /** Seconds, told in the `retry-after` header. */
  retryAfter: z.number().min(0).optional(),
  /** How many requests fail before the script goes on; once when left out. */
  times: z.union([z.int().min(1), z.literal('always')]).optional(),
  /** What the error says; "the script says STATUS" when left out. */
  message: z.string().min(1).optional(),
});
export type Fail = z.infer<typeof failSchema>;

const actions = {
  /** Files to write, path -> whole content. A relative path lies in the cell's workspace. */
  write: filesSchema,
  /** Text to put at the end of files, path -> text. */
  append: filesSchema,
  /** Files and folders to remove. */
  delete: z.array(z.string().min(1)).min(1),
  /** Shell command the agent runs in its workspace. */
  run: commandSchema,
  /** Text that goes with the next answer; the last one replaces "Done.". */
  say: z.string().min(1),
  /** Milliseconds of silence before the next answer. */
  think: z.int().min(0).max(3_600_000),
  /** Usage that every following answer reports. */
  tokens: tokensSchema,
  /** The next request is answered with an HTTP error. */
  fail: failSchema,
  /** The next request is accepted and never answered. */
  hang: z.literal(true),
  /** Shell command the agent runs again and again, without end; a `think` just before it sets the pace. */
  forever: commandSchema,
};
const ACTION_NAMES = Object.keys(actions) as (keyof typeof actions)[];

const stepSchema = z
  .strictObject({ attempt: z.union([attemptNumber, z.array(attemptNumber).min(1)]), ...actions })
  .partial()
  .superRefine((step, context) => {
    const named = ACTION_NAMES.filter(name => step[name] !== undefined);
    if (named.length === 1) return;
    const found = named.length === 0 ? 'none' : named.join(' and ');
    context.addIssue({
      code: 'custom',
      message: `has exactly one of ${ACTION_NAMES.join(', ')}; this one has ${found}`,
    });
  });

/** One step of a script: exactly one action, and the attempts it is for (all when `attempt` is left out). */
export type ScriptStep = z.infer<typeof stepSchema>;

/** The script as a fenced block, to be put into a task's prompt. Throws `InvalidInput` when a step is wrong. */
export function script(steps: readonly ScriptStep[]): string {
  const valid = validSteps(steps);
  // Without folding, every line of a text is indented, so three backticks in a file's content cannot end the block.
  const readable = stringify(valid, { lineWidth: 0 });
  // A line of blanks only does not survive in a YAML block; JSON is YAML too, harder to read and exact.
  const body = isDeepStrictEqual(parse(readable), valid) ? readable : `${JSON.stringify(valid, null, 2)}\n`;
  return `\`\`\`script\n${body}\`\`\`\n`;
}

/** The steps of the first script block in `prompt`; null when there is none. Throws `InvalidInput` on a wrong one. */
export function parseScript(prompt: string): ScriptStep[] | null {
  const opening = /^```script[ \t]*\r?\n/m.exec(prompt);
  if (opening === null) return null;
  const rest = prompt.slice(opening.index + opening[0].length);
  const closing = /^```[ \t]*\r?$/m.exec(rest);
  if (closing === null) throw new InvalidInput([{ where: 'script', what: 'the block is not closed with ```' }]);
  return validSteps(parseYaml(rest.slice(0, closing.index)));
}

/** The steps that apply to one attempt, in order. */
export function stepsOf(steps: readonly ScriptStep[], attempt: number): ScriptStep[] {
  return steps.filter(step => step.attempt === undefined || [step.attempt].flat().includes(attempt));
}

function parseYaml(text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    // The library's message goes on with a picture of the spot over several lines; the first says it.
    const what = error instanceof YAMLParseError ? (error.message.split('\n')[0] ?? error.code) : messageOf(error);
    throw new InvalidInput([{ where: 'script', what }]);
  }
}

function validSteps(value: unknown): ScriptStep[] {
  if (!Array.isArray(value)) throw new InvalidInput([{ where: 'script', what: 'a script is a list of steps' }]);
  const steps: ScriptStep[] = [];
  const faults: Fault[] = [];
  for (const [index, entry] of value.entries()) {
    const parsed = stepSchema.safeParse(entry);
    if (parsed.success) steps.push(parsed.data);
    else faults.push(...faultsOf(parsed.error, `script step ${index + 1}`));
  }
  if (faults.length > 0) throw new InvalidInput(faults);
  return steps;
}
