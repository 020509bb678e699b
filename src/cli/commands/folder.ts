/** The calls of `cellpool folder`; what they do is in `../folder.ts`. */
import type { Command } from 'commander';
import { addBridgeFlags } from '../bridge-flags.ts';
import type { FolderFlags, FolderStatusFlags } from '../folder.ts';
import { addFlags, SITE_FLAGS } from '../options.ts';

const EXAMPLES = `
Examples:
  $ cellpool folder tasks/ --repo . --dry-run      # what would be worked
  $ cellpool folder tasks/ --repo .                # put it on the queue, and write back what has ended
  $ cellpool folder tasks/ --repo . --watch        # keep going; workers run elsewhere: cellpool worker
  $ cellpool folder status tasks/                  # files beside their jobs

A Markdown file is one task: its front matter says title, priority, dependsOn and the like, its text is the prompt. What
becomes of it is written into its front matter; status: open has it worked again.

Ends with 0, 1 when a file cannot be worked as it is written, 2 on bad input, 3 when the folder or Redis is not there,
130 when interrupted; with --watch 0 when it is stopped.`;

const STATUS_EXAMPLES = `
Examples:
  $ cellpool folder status tasks/ --json

Ends with 0, 2 when there is no such folder, 3 when Redis is not there.`;

export function addFolderCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command('folder')
    .description('put the Markdown files of a folder on the queue, and write back what becomes of them')
    .argument('<folder>', 'folder of Markdown files, a task each')
    // `--json` behind `status` belongs to `status`.
    .enablePositionalOptions();
  addBridgeFlags(command, 'files')
    .option('--allow-keys <names>', 'what files may set, of model, agent, budget and test, such as model,budget')
    .addHelpText('after', EXAMPLES)
    .action(async (folder: string, flags: FolderFlags) =>
      exit(await (await import('../folder.ts')).folder(folder, flags)),
    );
  const status = command.command('status').description('files beside their jobs').argument('<folder>');
  addFlags(status, SITE_FLAGS)
    .option('--json', 'one JSON object a line on stdout for each file, and nothing else there')
    .addHelpText('after', STATUS_EXAMPLES)
    .action(async (folder: string, _: unknown, self: Command) =>
      exit(await (await import('../folder.ts')).folderStatus(folder, self.optsWithGlobals<FolderStatusFlags>())),
    );
}
