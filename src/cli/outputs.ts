/** What a command prints: answers on stdout, all else on stderr. */

/** A line for people. */
export function say(message: string): void {
  process.stderr.write(`${message}\n`);
}

/**
 * From here on no failed write ends the process: a closed terminal (EIO), a full disk (ENOSPC), a reader that has
 * seen enough (EPIPE). None of it may end attempts that are half done. A lost answer on stdout makes a good exit code
 * 1.
 */
export function outliveOutputs(): void {
  let lost: string | null = null;
  // Messages to a person who is gone: there is nobody left to tell.
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // `| head` closes the pipe when it has seen enough; that is no fault of ours.
    if (error.code !== 'EPIPE') lost ??= error.message;
  });
  // Not before: the last write may be the one that fails, after the command has come to its code.
  process.once('exit', () => {
    if (lost === null) return;
    process.exitCode ||= 1;
    process.stderr.write(`cellpool: a part of the output on stdout was lost: ${lost}\n`);
  });
}
