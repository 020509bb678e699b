/** The call of `cellpool run`; what it does is in `../run.ts`. */
import type { Command } from 'commander';
import { addFlags, WORKER_FLAGS } from '../options.ts';
import { addTaskFlags, type TaskFlags } from '../task-flags.ts';

const EXAMPLES = `
Examples:
  $ cellpool run tasks.jsonl --repo . --test "npm test" --model anthropic/claude-sonnet-4-5
  $ cellpool run --id fix-typo --prompt "Fix the typo in README.md" --model openai/gpt-5
  $ bd export | my-filter | cellpool run - --json > outcomes.jsonl

What is to land (--land) is waited for until it has landed, or is known not to. Ends with 0 when every task ended
committed or no-changes and landed where it was to, 1 when one did not, 2 on bad input, 3 when Redis, git or opencode is
not there, 130 when it was interrupted with tasks left on the queue.

Ctrl-C or SIGTERM: takes no more jobs and gives the running attempts --grace seconds to end; those that have not by
then, or at a second signal, are cancelled and their jobs handed back, uncounted. A third one ends it at once.`;

export function addRunCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('run').description('work through tasks until every one has its outcome');
  addFlags(addTaskFlags(command), WORKER_FLAGS)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, flags: TaskFlags) =>
      exit(await (await import('../run.ts')).run(file, flags)),
    );
}
