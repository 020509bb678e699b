/** The call of `cellpool enqueue`; what it does is in `../enqueue.ts`. */
import type { Command } from 'commander';
import { addTaskFlags, type TaskFlags } from '../task-flags.ts';

const EXAMPLES = `
Examples:
  $ cellpool enqueue tasks.yaml --repo . --test "npm test"
  $ cellpool worker --concurrency 10        # then, here or on another machine

A task that is known is not queued twice: one that waits or runs is joined, one that has ended is told with its
outcome; --again works it anew.`;

export function addEnqueueCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command('enqueue').description('put tasks on the queue');
  addTaskFlags(command)
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, flags: TaskFlags) =>
      exit(await (await import('../enqueue.ts')).enqueue(file, flags)),
    );
}
