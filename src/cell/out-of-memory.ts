/** What the kernel killed for want of memory is told as that, and not as what it looks like from outside. */
import { CellpoolError, type ErrorCode } from '../errors.ts';
import type { Cell } from './cell.ts';
import type { ExecutionResult } from './execute.ts';

/** Ends that a killed process may have been the reason of. */
const OF_COMMANDS: ReadonlySet<ErrorCode> = new Set(['SETUP_FAILED', 'HOOK_FAILED']);
/** A server that is killed may show first as a request without an answer. */
const OF_SERVERS: ReadonlySet<ErrorCode> = new Set(['SERVER_EXITED', 'SESSION_FAILED']);

/** Does `work`; a failed command in it of which a process was killed so is thrown as OUT_OF_MEMORY. */
export async function namingOutOfMemory(cell: Cell, work: () => Promise<void>): Promise<void> {
  const before = await cell.bounds.memoryKills();
  try {
    await work();
  } catch (error) {
    const failed = error instanceof CellpoolError && OF_COMMANDS.has(error.code);
    throw (failed ? await outOfMemory(cell, before, error) : null) ?? error;
  }
}

/**
 * The result of a session, which ended as OUT_OF_MEMORY when its server was killed so. A tool of the agent that was
 * killed is told to the agent, which may know better.
 */
export async function serverOutOfMemory(cell: Cell, work: () => Promise<ExecutionResult>): Promise<ExecutionResult> {
  const before = await cell.bounds.memoryKills();
  const result = await work();
  if (result.error === null || !OF_SERVERS.has(result.error.code)) return result;
  if (cell.server.process.endedWith === null) return result;
  return { ...result, error: (await outOfMemory(cell, before, result.error)) ?? result.error };
}

/** What to say when processes of the cell were killed so since there had been `before` of these; else null. */
export async function outOfMemory(cell: Cell, before: number, cause?: CellpoolError): Promise<CellpoolError | null> {
  const error = await cell.bounds.outOfMemorySince(before);
  if (error === null) return null;
  cell.log.warn({ problem: error.message }, 'out of memory');
  const { code, message, hint, facts } = error;
  return new CellpoolError(code, message, { ...(hint === undefined ? {} : { hint }), facts, cause });
}
