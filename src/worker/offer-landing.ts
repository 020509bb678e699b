/** Puts a finished branch on the landing queue, where its task wants it to land. */
import { checkedLanding, LANDING_JOB, landingOf, landingOptions } from '../job/landing.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { HeldJob } from './held-job.ts';

/**
 * Before BullMQ hears that the task has ended: whoever finds the job after we died in between does it again, which
 * changes nothing. @throws the error of Redis
 */
export async function offerLanding({ context, job, data }: HeldJob, result: AttemptResult): Promise<void> {
  const landing = landingOf(data, result, job.timestamp);
  if (landing === null) return;
  await context.landings.add(LANDING_JOB, checkedLanding(landing), landingOptions(landing, context.retention));
}
