/** What all pages of the board have around their content. */
import { assetPath } from '../assets.ts';
import { type Html, html } from './html.ts';

export interface PageFacts {
  title: string;
  here: 'pool' | 'tasks' | null;
  content: Html;
  /** Epoch ms by the server's clock. */
  now: number;
  /** Path of the stream that keeps the page up to date; left out: it stays as it is. */
  events?: string;
  /** Why the facts on the page are not there; null when they are. */
  away?: string | null;
}

const PLACES = [
  { name: 'pool', path: '/', text: 'Pool' },
  { name: 'tasks', path: '/tasks', text: 'Tasks' },
  { name: 'queues', path: '/queues', text: 'Queues' },
] as const;

export function page({ title, here, content, now, events, away = null }: PageFacts): string {
  const places = PLACES.map(
    ({ name, path, text }) =>
      html`<li><a href="${path}"${name === here && html` aria-current="page"`}>${text}</a></li>`,
  );
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · cellpool</title>
<link rel="icon" href="${assetPath('icon.svg')}">
<link rel="stylesheet" href="${assetPath('board.css')}">
<script src="${assetPath('board.js')}" defer></script>
</head>
<body data-now="${now}"${events !== undefined && html` data-events="${events}"`}>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="/">cellpool</a>
<nav aria-label="Pages of the board"><ul>${places}</ul></nav>
</header>
<p id="trouble" class="notice trouble" role="status"${away === null && html` hidden`}>${away}</p>
<p id="answer" class="notice answer" role="status" tabindex="-1" hidden></p>
<main id="main" tabindex="-1">
${content}
</main>
</body>
</html>
`.toString();
}

/** A part that is kept up to date: its content is replaced when a message names its id. */
export function part(id: string, content: Html | undefined): Html {
  return html`<div id="${id}" data-part>${content}</div>`;
}

/** A button that acts, with and without a script. `confirm`: what is asked before. */
export function action(
  path: string,
  text: string,
  { confirm, label }: { confirm?: string; label?: string } = {},
): Html {
  return html`<form method="post" action="${path}"${confirm !== undefined && html` data-confirm="${confirm}"`}>
<button${label !== undefined && html` aria-label="${label}"`}>${text}</button></form>`;
}

/** Takes the task off the queue, or stops it. */
export function cancelAction(taskId: string): Html {
  return action(`/api/tasks/${encodeURIComponent(taskId)}/cancel`, 'Cancel', {
    confirm: `Cancel ${taskId}? It leaves the queue; an attempt that runs is stopped and reverted.`,
    label: `Cancel ${taskId}`,
  });
}

/** Works it anew; `text` says how that is called where it stands. Where rows move under the pointer it is asked first. */
export function retryAction(taskId: string, text = 'Retry', confirm?: string): Html {
  const more = confirm === undefined ? {} : { confirm };
  return action(`/api/tasks/${encodeURIComponent(taskId)}/retry`, text, { label: `${text} ${taskId}`, ...more });
}
