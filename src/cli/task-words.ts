/** One task with all its attempts, in words. */
import { branchCommands, isForPeople } from '../board/view/branch-commands.ts';
import type { CellFacts, TaskDetail } from '../board/view/facts.ts';
import { landingInWords } from '../board/view/landing-words.ts';
import type { AttemptResult } from '../job/outcome.ts';
import { age, duration, printable, printableLines, reason, shorten, size, verdict } from './words.ts';

/** What lies in an attempt's folder, or where that is when it is not here. */
export interface KeptFiles {
  files: readonly { file: string; size: number }[];
  elsewhere: string | null;
  /** The end of its test log, when the tests failed; empty when there is none. */
  testTail: string;
}

export const NOTHING_KEPT: KeptFiles = { files: [], elsewhere: null, testTail: '' };
const NAME_WIDTH = 11;
const FILES_SHOWN = 20;
/** Lines of a test log. */
const TAIL_SHOWN = 30;
/** Lines of the job's own log. */
const LOG_SHOWN = 10;
const LANDING_WIDTH = 300;

/** `kept` in the order of the results. */
export function taskInWords(task: TaskDetail, kept: readonly KeptFiles[], now: number): string {
  const head = task.title === null ? task.taskId : `${task.taskId}: ${task.title}`;
  return [
    printable(head),
    ...lines(planOf(task, now)),
    ...(task.prompt === '' ? [] : ['', 'Prompt', indented(printableLines(task.prompt.trimEnd()))]),
    ...task.results.flatMap((result, at) => ['', ...attemptInWords(task, result, kept[at] ?? NOTHING_KEPT)]),
    ...(task.log.length === 0 ? [] : ['', 'Log', ...task.log.slice(-LOG_SHOWN).map(firstLine)]),
  ].join('\n');
}

function firstLine(note: string): string {
  return `  ${shorten(note.split('\n')[0] ?? '', 160)}`;
}

type Line = readonly [name: string, value: string | null];

function planOf(task: TaskDetail, now: number): Line[] {
  const since = (at: number) => `${new Date(at).toISOString().replace(/\.\d+Z$/, 'Z')}, ${age(now - at)} ago`;
  if (task.fault !== null)
    return [
      ['state', task.state],
      ['fault', `this is no job of cellpool: ${task.fault}`],
    ];
  return [
    ['state', stateInWords(task)],
    ['waits', task.waitsFor],
    ['at work', task.cell === null ? null : cellInWords(task.cell, now)],
    ['repository', `${task.repository}, base ${task.base}`],
    ['lands', task.lands === null ? null : landsInWords(task.lands)],
    ['setup', task.setup],
    ['test', task.test ?? 'none: what the agent changes is committed untested'],
    ['model', task.model ?? 'the default of its worker'],
    ['limits', `${duration(task.timeoutMs)} and ${task.tokenBudget} tokens an attempt, ${task.attempts} attempts`],
    ['depends on', task.dependsOn.length === 0 ? null : task.dependsOn.join(', ')],
    ['enqueued', since(task.enqueuedAt)],
    ['ended', task.endedAt === null ? null : since(task.endedAt)],
    ['used', `${task.tokensUsed} tokens${costOf(task.results)}`],
  ];
}

function landsInWords({ how, target }: NonNullable<TaskDetail['lands']>): string {
  return `on ${target}, by ${how}, once it is committed`;
}

function stateInWords({ state, attempt, attempts, outcome }: TaskDetail): string {
  const counted = attempt === 0 ? 'no attempt yet' : `attempt ${attempt} of ${attempts}`;
  return `${state}, ${counted}${outcome === null ? '' : `, last ended ${outcome}`}`;
}

function cellInWords(
  { cellId, host, stage, startedAt, port, tokensUsed, tokenBudget }: CellFacts,
  now: number,
): string {
  const where = `${cellId} on ${host}${port === null ? '' : `, port ${port}`}`;
  const used = `${tokensUsed}/${tokenBudget ?? '?'} tokens`;
  return `${stage} in cell ${where}, for ${duration(Math.max(0, now - startedAt))}, ${used}`;
}

/** As far as the prices are known. */
function costOf(results: readonly AttemptResult[]): string {
  const costs = results.flatMap(({ costUsd }) => costUsd ?? []);
  return costs.length === 0 ? '' : `, $${costs.reduce((sum, cost) => sum + cost, 0).toFixed(4)}`;
}

function attemptInWords(task: TaskDetail, result: AttemptResult, kept: KeptFiles): string[] {
  const { attempt, outcome, metrics, tokensUsed, error, host } = result;
  const facts = [
    host === undefined ? [] : `on ${host}`,
    duration(metrics.totalMs),
    `${tokensUsed} tokens${costOf([result])}`,
  ].flat();
  return [
    printable(`Attempt ${attempt}: ${outcome}, ${facts.join(', ')}`),
    ...lines([
      ['stages', stagesInWords(result)],
      ['tests', testsInWords(result)],
      ['files', filesInWords(result.diffSummary?.trimEnd().split('\n') ?? result.filesModified)],
      ...branchOf(task, result),
      ['secret', result.secretInWork === true ? 'its work holds a secret of the worker: do not publish it' : null],
    ]),
    ...whyNotLanded(task, result),
    ...(error === null ? [] : [field('error', errorInWords(error, kept.testTail))]),
    ...(kept.testTail === '' ? [] : [field('test log', indentedRest(tailOf(kept.testTail)))]),
    ...(result.hookFaults ?? []).map(({ hook, message }) => field(hook, shorten(message, 300))),
    ...artifactsInWords(task.taskId, result, kept),
  ];
}

/** What the tests printed stands in the message too, but less of it. */
function errorInWords({ code, message }: { code: string; message: string }, testTail: string): string {
  const told = testTail === '' ? reason(message) : shorten(message.split('\n')[0] ?? '', 300);
  return indentedRest(`${printable(code)}: ${told}`);
}

function tailOf(testLog: string): string {
  const all = printableLines(testLog).trimEnd().split('\n');
  return all.slice(-TAIL_SHOWN).join('\n');
}

function stagesInWords({ stages = [], metrics }: AttemptResult): string | null {
  if (stages.length > 0) return stages.map(({ stage, ms }) => `${stage} ${duration(ms)}`).join(', ');
  const { spawnMs, executionMs, teardownMs } = metrics;
  if (metrics.totalMs === 0) return null;
  return `spawn ${duration(spawnMs)}, execute ${duration(executionMs)}, teardown ${duration(teardownMs)}`;
}

function testsInWords(result: AttemptResult): string | null {
  const took = result.tests === null ? '' : `, ${duration(result.tests.durationMs)}`;
  const said = verdict(result);
  return said === '-' ? null : `${said}${took}`;
}

function filesInWords(files: readonly string[]): string | null {
  if (files.length === 0) return null;
  const more = files.length - FILES_SHOWN;
  return `${files.slice(0, FILES_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** The branch, what became of it, and what to type to see it and to take it. */
function branchOf(task: TaskDetail, { branch, commit }: AttemptResult): Line[] {
  if (branch === null) return [];
  const landing = task.landings.find(one => one.commit === commit);
  const where: Line = ['branch', `${branch}${commit === null ? '' : ` at ${commit.slice(0, 10)}`}`];
  const how: Line = ['landing', landing === undefined ? null : shorten(landingInWords(landing), LANDING_WIDTH)];
  // It may have been removed, and its target has all of it.
  if (landing?.state === 'landed') return [where, how];
  const { fetch, look, take } = branchCommands(task, branch);
  return [
    where,
    how,
    ['fetch', fetch === null ? null : `${fetch}   # in a clone of yours`],
    ['look', look],
    ['take', isForPeople(landing) ? take : null],
  ];
}

/** What was printed by the tests of a landing that failed, or which paths are in conflict. */
function whyNotLanded(task: TaskDetail, { commit }: AttemptResult): string[] {
  const fate = task.landings.find(one => one.commit === commit)?.fate ?? null;
  if (fate === null || fate.kind === 'landed' || fate.message === '') return [];
  return [field('why', indentedRest(reason(fate.message)))];
}

function artifactsInWords(taskId: string, { artifacts, attempt }: AttemptResult, { files, elsewhere }: KeptFiles) {
  if (artifacts === '') return [];
  if (elsewhere !== null) return lines([['artifacts', elsewhere]]);
  return lines([
    ['artifacts', artifacts],
    ['', files.length === 0 ? null : files.map(one => `${one.file} (${size(one.size)})`).join(', ')],
    ['read', files.length === 0 ? null : `cellpool logs ${taskId} --attempt ${attempt}`],
  ]);
}

function lines(given: readonly Line[]): string[] {
  return given.flatMap(([name, value]) => (value === null ? [] : [field(name, printable(value))]));
}

/** `value` is safe for a terminal already. */
function field(name: string, value: string): string {
  return `  ${name.padEnd(NAME_WIDTH)} ${value}`;
}

function indented(text: string): string {
  return text
    .split('\n')
    .map(line => (line === '' ? '' : `  ${line}`))
    .join('\n');
}

/** What follows the first line stands under it. */
function indentedRest(text: string): string {
  return text.split('\n').join(`\n${' '.repeat(NAME_WIDTH + 3)}`);
}
