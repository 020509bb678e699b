/** `cellpool landing`: finished branches that are to land, and what became of those that were. */
import type { LandingFacts } from '../board/view/facts.ts';
import { listLandings } from '../board/view/landing-facts.ts';
import { heldInWords, landingInWords } from '../board/view/landing-words.ts';
import { idFaults } from '../producer/task-ids.ts';
import { allOf, countOf, refuse } from './faults.ts';
import { say } from './outputs.ts';
import { settingsOf } from './settings-of.ts';
import { tellJson, type ViewFlags, viewing } from './viewing.ts';
import { age, printable, reason, shorten, table } from './words.ts';

export interface LandingFlags extends ViewFlags {
  limit?: string;
}

/** Of those that have ended. */
const LIMIT = 20;
const PLACE_WIDTH = 60;
const NOTE_WIDTH = 120;
const HELD_WIDTH = 400;

export async function landing(taskIds: readonly string[], flags: LandingFlags): Promise<number> {
  const [settings, limit] = allOf(
    () => settingsOf(flags),
    () => (flags.limit === undefined ? LIMIT : countOf('--limit', flags.limit)),
    () => refuse(idFaults(taskIds)),
  );
  return viewing(settings, async context => {
    const only = taskIds.length === 0 ? {} : { taskIds };
    const { landings, isMore } = await listLandings(context, { ...only, ended: limit });
    if (flags.json === true) for (const one of landings) tellJson(one);
    else process.stdout.write(`${inWords(landings, taskIds.length > 0)}\n`);
    if (isMore) say(`More than ${limit} have ended: see --limit.`);
    return 0;
  });
}

const HEAD = ['TASK', 'STATE', 'TARGET', 'REPOSITORY', 'COMMIT', 'IN LINE', 'ENDED', 'NOTE'];

/** `whole`: with what was said of each that has not landed. */
function inWords(landings: readonly LandingFacts[], whole: boolean): string {
  if (landings.length === 0)
    return whole ? 'None of these is to land, and none was.' : 'Nothing is to land, and nothing was.';
  const now = Date.now();
  const rows = landings.map(one => [
    shorten(one.taskId, 100),
    one.state,
    shorten(one.target, PLACE_WIDTH),
    shorten(one.repository, PLACE_WIDTH),
    one.commit.slice(0, 10),
    `${age(now - one.queuedAt)} ago`,
    one.endedAt === null ? '-' : `${age(now - one.endedAt)} ago`,
    shorten(landingInWords(one), NOTE_WIDTH),
  ]);
  return [table(HEAD, rows), ...(whole ? landings.flatMap(saidOf) : [])].join('\n');
}

function saidOf(landing: LandingFacts): string[] {
  const { taskId, fate } = landing;
  const held = heldInWords(landing);
  if (held !== null) return ['', `${printable(taskId)}: ${shorten(held, HELD_WIDTH)}`];
  if (fate === null || fate.kind === 'landed' || fate.message === '') return [];
  return ['', `${printable(taskId)}: ${reason(fate.message)}`];
}
