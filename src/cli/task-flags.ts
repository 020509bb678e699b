/** What `run` and `enqueue` are called with to be given tasks; `task-input.ts` reads them. */
import type { Command } from 'commander';
import { addFlags, type CommonFlags, SITE_FLAGS, TASK_FLAGS } from './options.ts';

/** How the tasks of one repository are to be worked. */
export interface TargetFlags extends CommonFlags {
  repo: string;
  base?: string;
  json?: boolean;
}

export interface TaskFlags extends TargetFlags {
  id?: string;
  prompt?: string;
  again?: boolean;
}

export function addTargetFlags(command: Command): Command {
  command
    .option(
      '--repo <folder|url>',
      'the git repository to work on: a folder, or a URL that workers fetch from and push to',
      '.',
    )
    .option('--base <branch>', 'branch that tasks begin at if they name none (default: main)')
    .option('--opencode-config <file>', 'JSON or YAML merged into the opencode config of the cells')
    .option('--json', 'one JSON object a line on stdout, and nothing else there');
  return addFlags(command, [...TASK_FLAGS, ...SITE_FLAGS]);
}

export function addTaskFlags(command: Command): Command {
  command
    .argument('[tasks]', 'file of tasks (.jsonl, .json, .yaml), or - for standard input')
    .option('--id <id>', 'a single task: its id')
    .option('--prompt <text>', 'a single task: what is to be done')
    .option('--again', 'work tasks anew that have already ended');
  return addTargetFlags(command);
}
