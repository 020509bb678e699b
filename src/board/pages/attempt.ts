/** One attempt in full: what came of it, and what it left to be read. */
import type { AttemptResult } from '../../job/outcome.ts';
import type { AttemptFiles, TextPart } from '../task-files.ts';
import { branchCommands, isForPeople } from '../view/branch-commands.ts';
import type { TaskDetail } from '../view/facts.ts';
import type { TranscriptEntry } from '../view/transcript.ts';
import { diff } from './diff.ts';
import { counted, dollars, duration, size, whole } from './figures.ts';
import { type Html, html } from './html.ts';
import { timeline } from './timeline.ts';
import { nothing, outcomeBadge, taskPath, testsInWords } from './words.ts';

/** The attempt that is shown in full. */
export interface ShownAttempt {
  /** Its place among the results, from 1: attempts that did not count share a number. */
  nth: number;
  result: AttemptResult;
  files: AttemptFiles;
}

export function attemptSection(task: TaskDetail, { result, nth, files }: ShownAttempt): Html {
  const { error, commit, branch, tests, limits, isolation, host, workspace } = result;
  const facts: [string, Html | string | null][] = [
    ['Tests', tests === null ? testsInWords(result) : `${testsInWords(result)}, in ${duration(tests.durationMs)}`],
    ['Tokens', whole(result.tokensUsed)],
    ['Cost', result.costUsd === undefined ? 'not known' : dollars(result.costUsd)],
    ['Time', duration(result.metrics.totalMs)],
    ['Branch', branch],
    ['Take it', branch === null ? null : takeOf(task, branch, commit)],
    ['Commit', commit === null ? null : html`<code>${commit}</code>`],
    ['Host', host ?? null],
    ['Isolation', isolation ?? null],
    ['Workspace', workspace ?? null],
    [
      'Limits',
      limits === undefined
        ? null
        : Object.entries(limits)
            .map(pair => pair.join(': '))
            .join(', '),
    ],
  ];
  return html`<h2 id="attempt-title">Attempt ${result.attempt} ${outcomeBadge(result.outcome)}</h2>
${error !== null && html`<pre class="error" tabindex="0" aria-label="Why">${error.code}: ${error.message}</pre>`}
${result.secretInWork === true && html`<p class="notice trouble">What the agent added holds a secret that its worker knows: do not publish it.</p>`}
${result.hookFaults?.map(({ hook, message }) => html`<p class="warning">The hook ${hook} failed: ${message}</p>`)}
${timeline(result)}
<dl class="facts">${facts.map(([name, value]) => value !== null && html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
${filesModified(result)}
${kept(result, nth, files)}`;
}

/** What to type to have its branch; null for one that its target has, or is to have. */
function takeOf(task: TaskDetail, branch: string, commit: string | null): Html | null {
  if (!isForPeople(task.landings.find(one => one.commit === commit))) return null;
  const { fetch, take } = branchCommands(task, branch);
  return html`${fetch !== null && html`<code>${fetch}</code>, then `}<code>${take}</code>`;
}

function filesModified({ filesModified: paths, diffSummary }: AttemptResult): Html {
  if (paths.length === 0) return nothing('No file was changed.');
  return html`<details><summary>${counted(paths.length, 'file')} changed</summary>
<ul class="paths">${paths.map(path => html`<li><code>${path}</code></li>`)}</ul>
${diffSummary !== undefined && html`<pre>${diffSummary}</pre>`}</details>`;
}

function kept(result: AttemptResult, nth: number, files: AttemptFiles): Html {
  switch (files.kind) {
    case 'none':
      return nothing('There was no cell, so there is nothing to read.');
    case 'elsewhere': {
      const where = files.host === null ? 'outside the state folder of this board' : `on the host ${files.host}`;
      return html`<p class="notice">Transcript, diff and logs lie ${where}, in <code>${files.folder}</code>.</p>`;
    }
    case 'gone':
      return html`<p class="notice">Transcript, diff and logs have been removed from <code>${files.folder}</code>.</p>`;
    case 'here':
      return here(result, nth, files);
  }
}

function here(result: AttemptResult, nth: number, files: Extract<AttemptFiles, { kind: 'here' }>): Html {
  const path = (file: string) => `${taskPath(result.taskId)}/attempts/${nth}/files/${file}`;
  const { transcript, testLog, diff: changes } = files;
  return html`${
    transcript !== null &&
    html`<details id="transcript" open><summary>Transcript</summary>
<ol class="transcript">${transcript.entries.map(entryOf)}</ol></details>`
  }
${changes !== null && changes.text !== '' && html`<details id="diff" open><summary>Diff</summary>${diff(changes.text)}${leftOf(changes)}</details>`}
${
  testLog !== null &&
  html`<details id="test-log" open><summary>Test log</summary>${leftOf(testLog)}
<pre tabindex="0" aria-label="Test log">${testLog.text === '' ? '(empty)' : testLog.text}</pre></details>`
}
<h3>Files</h3>
<ul class="paths">${files.files.map(({ file, size: bytes }) => html`<li><a href="${path(file)}">${file}</a> ${size(bytes)}</li>`)}</ul>
<p class="title">In <code>${files.folder}</code></p>`;
}

function leftOf({ left }: TextPart): Html | null {
  return left === 0 ? null : html`<p class="nothing">${size(left)} more in the file.</p>`;
}

/** Of a call the title says what was called; what it gave is opened by whoever wants to see it. */
function entryOf({ kind, title, text }: TranscriptEntry): Html {
  if (text === '') return html`<li class="${kind}"><p class="what">${title}</p></li>`;
  const isLong = kind === 'call' || kind === 'thinking' || text.length > 4_000;
  if (isLong)
    return html`<li class="${kind}"><details><summary class="what">${title}</summary><pre>${text}</pre></details></li>`;
  return html`<li class="${kind}"><p class="what">${title}</p><pre>${text}</pre></li>`;
}
