/** Figures and tables for people. */
import { stripVTControlCharacters } from 'node:util';
import type { Settings } from '../config.ts';
import type { AttemptResult } from '../job/outcome.ts';
import type { Isolation } from '../os/isolation.ts';

/** `850 ms`, `12.3 s`, `4 min 05 s`. */
export function duration(ms: number): string {
  // The limits are those of the rounded figures, so that 60.0 s reads 1 min 00 s.
  if (Math.round(ms) < 1_000) return `${Math.round(ms)} ms`;
  if (Math.round(ms / 100) < 600) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

const [MINUTE_MS, HOUR_MS, DAY_MS] = [60_000, 3_600_000, 86_400_000];

/** How long ago, or how much longer, no finer than people want it: `45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`. */
export function age(ms: number): string {
  const past = Math.max(0, ms);
  if (past < MINUTE_MS) return `${Math.floor(past / 1_000)} s`;
  if (past < HOUR_MS) return `${Math.floor(past / MINUTE_MS)} min`;
  const [hours, minutes] = [Math.floor(past / HOUR_MS), Math.floor((past % HOUR_MS) / MINUTE_MS)];
  if (past < DAY_MS) return `${hours} h ${String(minutes).padStart(2, '0')} min`;
  return `${Math.floor(past / DAY_MS)} d ${hours % 24} h`;
}

/** `512 B`, `12.3 KiB`, `1.5 GiB`. */
export function size(bytes: number): string {
  let [value, unit] = [bytes, 'B'];
  for (const larger of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (value < 1_000) break;
    [value, unit] = [value / 1_024, larger];
  }
  return `${unit === 'B' ? value : value.toFixed(1)} ${unit}`;
}

/** Text from outside, made safe for a terminal: one line, no control or escape characters. */
export function printable(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/\p{Cc}|\p{Cf}/gu, '');
}

/** As `printable`, but its lines and tabs stay. Colours that a program printed go, as they may be anything else. */
export function printableLines(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/\r\n?/g, '\n')
    .replace(/[^\P{Cc}\n\t]|\p{Cf}/gu, '');
}

export function shorten(text: string, width: number): string {
  const plain = printable(text);
  return plain.length <= width ? plain : `${plain.slice(0, Math.max(0, width - 1))}…`;
}

/** Rows in columns, two blanks apart; safe for a terminal whatever the rows hold. */
export function table(head: readonly string[], given: readonly (readonly string[])[]): string {
  const rows = given.map(row => row.map(printable));
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map(row => (row[column] ?? '').length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [head, ...rows].map(line).join('\n');
}

/** Of a task on the queue that differs from the one in hand. */
export const CHANGED = 'was enqueued with other words or settings than these, and those count.';

/** `1 task`, `2 tasks`. */
export function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** What the tests said, in a word or two. */
export function verdict({ outcome, tests }: Pick<AttemptResult, 'outcome' | 'tests'>): string {
  if (tests !== null) return tests.passed ? 'passed' : `failed (${tests.exitCode ?? 'killed'})`;
  return outcome === 'committed' ? 'untested' : '-';
}

/** A short reason as it is; of a long one its beginning and its last lines, where a test log says what failed. */
export function reason(message: string): string {
  const lines = message.split('\n').filter(line => line.trim() !== '');
  if (lines.length <= REASON_LINES) return shorten(message, 300);
  const end = lines.slice(-REASON_LINES).map(line => `    ${shorten(line, 120)}`);
  return [`${shorten(lines[0] ?? '', 120)}`, '    ...', ...end].join('\n');
}

const REASON_LINES = 10;

function whereOf({ branch, artifacts }: AttemptResult): string {
  return branch === null ? `changes.diff of ${printable(artifacts)}` : `branch ${printable(branch)}: do not publish it`;
}

/** The summary of a run: a row a task, then a count of each outcome, and of tasks that have none yet. */
export function summary(results: readonly AttemptResult[], queued = 0): string {
  const landings = results.flatMap(({ taskId, landing }) => (landing === undefined ? [] : [{ taskId, ...landing }]));
  const rows = results.map(result => [
    result.taskId,
    result.outcome,
    String(result.attempt),
    verdict(result),
    String(result.filesModified.length),
    String(result.tokensUsed),
    duration(result.metrics.totalMs),
    result.commit?.slice(0, 10) ?? '-',
    ...(landings.length === 0 ? [] : [result.landing?.state ?? '-']),
  ]);
  const total = countsOf(results.map(({ outcome }) => outcome));
  const landed = countsOf(landings.map(({ state }) => state));
  const problems = results
    .filter(result => result.error !== null && result.outcome !== 'committed')
    .map(result => {
      const see = printable(result.artifacts) || 'the worker’s log';
      return `${printable(result.taskId)}: ${reason(result.error?.message ?? '')}\n  see ${see}`;
    });
  const unlanded = landings
    .filter(({ state }) => state !== 'landed')
    .map(({ taskId, target, message }) => `${printable(taskId)}: not on ${printable(target)}: ${reason(message)}`);
  const leaks = results
    .filter(result => result.secretInWork === true)
    .map(result => `${printable(result.taskId)}: its work holds a secret of the worker, in ${whereOf(result)}`);
  return [
    table([...HEAD, ...(landings.length === 0 ? [] : ['LANDING'])], rows),
    '',
    `${results.length} tasks${total === '' ? '' : `: ${total}`}${landed === '' ? '' : `; ${landed}`}`,
    ...(queued === 0 ? [] : [`${counted(queued, 'task')} still queued`]),
    ...(problems.length === 0 ? [] : ['', ...problems]),
    ...(unlanded.length === 0 ? [] : ['', ...unlanded]),
    ...(leaks.length === 0 ? [] : ['', ...leaks]),
  ].join('\n');
}

const HEAD = ['TASK', 'OUTCOME', 'ATTEMPT', 'TESTS', 'FILES', 'TOKENS', 'TIME', 'COMMIT'];

/** `2 committed, 1 reverted`, in the order in which they come first; empty when there are none. */
function countsOf(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => `${count} ${word}`).join(', ');
}

const IN_WORKTREES =
  'Agents work in worktrees of your repository: they may change its refs, config and hooks (docs/security.md).';

/** What keeps the cells from this machine, and from the user's repository: a line each. */
export function cellsInWords(isolation: Pick<Isolation, 'level' | 'lacking'>, workspace: Settings['workspace']) {
  return [isolationInWords(isolation), ...(workspace === 'worktree' ? [IN_WORKTREES] : [])];
}

/** What keeps the cells from this machine, as one sentence. */
export function isolationInWords({ level, lacking }: Pick<Isolation, 'level' | 'lacking'>): string {
  const why = lacking === null ? '' : `: ${lacking.replace(/\.$/, '')}`;
  if (level === 'process') return `Cells are not isolated from this machine${why || ', as was asked'}.`;
  return `Cells are isolated: ${level}${why === '' ? '' : ` (not strict${why})`}.`;
}
