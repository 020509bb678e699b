/** `cellpool show`: all of one task. */
import { listArtifacts, locate, readArtifact, type Site } from '../board/view/artifact-file.ts';
import { readTask } from '../board/view/task-facts.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { ARTIFACTS } from '../observe/artifacts.ts';
import { idFaults } from '../producer/task-ids.ts';
import { absentInWords } from './attempt-place.ts';
import { allOf, refuse } from './faults.ts';
import { settingsOf } from './settings-of.ts';
import { type KeptFiles, NOTHING_KEPT, taskInWords } from './task-words.ts';
import { noSuchTask, tellJson, type ViewFlags, viewing } from './viewing.ts';

export async function show(taskId: string, flags: ViewFlags): Promise<number> {
  const [settings] = allOf(
    () => settingsOf(flags),
    () => refuse(idFaults([taskId])),
  );
  return viewing(settings, async context => {
    const task = await readTask(context, taskId);
    if (task === null) throw noSuchTask(taskId);
    if (flags.json === true) {
      tellJson(task);
      return 0;
    }
    const kept = await Promise.all(task.results.map(result => keptOf(settings, taskId, result)));
    process.stdout.write(`${taskInWords(task, kept, Date.now())}\n`);
    return 0;
  });
}

/** Of a test log. */
const TAIL = { from: 'end', most: 16_384 } as const;

async function keptOf(site: Site, taskId: string, result: AttemptResult): Promise<KeptFiles> {
  if (result.artifacts === '') return NOTHING_KEPT;
  const located = await locate(site, taskId, result);
  if (located.kind !== 'here') return { ...NOTHING_KEPT, elsewhere: absentInWords(located, result.artifacts) };
  const { place } = located;
  const log = result.tests?.passed === false ? await readArtifact(place, ARTIFACTS.testLog, TAIL) : null;
  return { files: await listArtifacts(place), elsewhere: null, testTail: log?.bytes.toString('utf8') ?? '' };
}
