/** The record of a cell, as it stands in the registry; see `registry.ts`. */
import { z } from 'zod';
import { ISOLATION_LEVELS } from '../config.ts';
import { messageOf } from '../errors.ts';
import { taskIdFault } from '../job/names.ts';
import { STAGES } from '../job/outcome.ts';

const identitySchema = z.object({
  pid: z.int().positive(),
  startTime: z.string(),
  bootId: z.string(),
  pidNamespace: z.string(),
});

/** A worker's process; the id is never used again. */
export const workerSchema = identitySchema.extend({ id: z.string().min(1) });

/** What a cell is in before it is given a task, and the first part of the ids of such cells. */
export const WARM = 'warm';
/** What a place is in where a lander runs tests; the first part of its id too, and it has no task, attempt or port. */
export const LANDING = 'landing';
/** Stages that a cell has only as long as it is no task's. */
export const STAGES_WITHOUT_TASK = [WARM, LANDING] as const;

export const cellRecordSchema = z.object({
  version: z.literal(1),
  /** `<task id>.<8 hex digits>`, without a task `warm` or `landing` for its id; also the name of the cell's folder. */
  cellId: z.string().refine(isCellId, 'is not the id of a cell'),
  host: z.string(),
  /** The state folder. */
  home: z.string().startsWith('/'),
  worker: workerSchema,
  /** null, with attempt 0 and stage `warm`: made ahead, and no task's yet; with `landing`, where a lander runs tests. */
  taskId: z.string().nullable(),
  attempt: z.int().min(0),
  /** What holds the job's lock, and when the job was put on the queue; null without a queue. */
  job: z.object({ token: z.string(), enqueuedAt: z.number() }).nullable(),
  /** The user's repository, and the pool's mirror of it. */
  repository: z.string().startsWith('/'),
  mirror: z.string().startsWith('/'),
  artifacts: z.string(),
  isolation: z.enum(ISOLATION_LEVELS),
  /** The agent's working tree; for people, since the reaper goes by the cell's id. */
  workspace: z.string(),
  /** Git folder of the user's repository where the workspace is registered as a worktree, under the cell's id. */
  worktree: z.string().startsWith('/').optional(),
  port: z.object({ port: z.int(), token: z.string() }).nullable(),
  server: z.object({ pid: z.int().positive(), startTime: z.string() }).nullable(),
  /** Folders of its control group. */
  groups: z.array(z.string()).optional(),
  stage: z.enum([...STAGES, ...STAGES_WITHOUT_TASK]),
  /** Its worker could not remove all of it: the reaper may, though the worker lives. */
  abandoned: z.boolean(),
  /** Epoch ms. */
  createdAt: z.number(),
});
export type CellRecord = z.infer<typeof cellRecordSchema>;
export type CellStage = CellRecord['stage'];

/** Cell ids become paths that get removed, so nothing else may pass for one. */
export function isCellId(id: string): boolean {
  const cut = id.lastIndexOf('.');
  return taskIdFault(id.slice(0, cut)) === null && /^[0-9a-f]{8}$/.test(id.slice(cut + 1));
}

/**
 * The task that a cell's id names; null of one that was made ahead, of which only its record knows what it was given,
 * and of a lander's, which never has one.
 */
export function taskNamedBy(cellId: string): string | null {
  const name = cellId.slice(0, cellId.lastIndexOf('.'));
  return STAGES_WITHOUT_TASK.some(stage => stage === name) ? null : name;
}

/** The record that stands under a cell's id, or why it is none. */
export function understoodRecord(
  cellId: string,
  text: string,
): { record: CellRecord; fault: null } | { record: null; fault: string } {
  try {
    const record = cellRecordSchema.parse(JSON.parse(text));
    if (record.cellId !== cellId) return { record: null, fault: `holds the record of ${record.cellId}` };
    return { record, fault: null };
  } catch (error) {
    const fault = error instanceof z.ZodError ? (error.issues[0]?.message ?? 'no record') : messageOf(error);
    return { record: null, fault };
  }
}
