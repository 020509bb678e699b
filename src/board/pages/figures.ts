/** Times, sizes and counts as the board writes them. `assets/board.js` writes those anew that pass while one looks. */
import { type Html, html } from './html.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Epoch ms of what is shown; null leaves what passes to the browser, so that the same facts give the same text. */
export type Now = number | null;

/** `4:05`, `1:04:05`. */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / SECOND));
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** How long it is since then, counted on by the browser. */
export function elapsedSince(since: number, now: Now): Html {
  return html`<span class="passing" data-elapsed="${since}">${now === null ? '' : elapsed(now - since)}</span>`;
}

/** `just now`, `5 min ago`, `3 h ago`, `2 d ago`. */
export function ago(ms: number): string {
  if (ms < MINUTE) return 'just now';
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min ago`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h ago`;
  return `${Math.floor(ms / DAY)} d ago`;
}

/** A moment that is past. */
export function pastMoment(at: number, now: Now): Html {
  const iso = isoOf(at);
  if (iso === null) return html`<span>?</span>`;
  return html`<time datetime="${iso}" data-ago="${at}" title="${iso}">${now === null ? '' : ago(now - at)}</time>`;
}

/** `in 45 s`, `in 3 min`; `now` when it is over. */
export function ahead(ms: number): string {
  if (ms <= 0) return 'now';
  return ms < 2 * MINUTE ? `in ${Math.ceil(ms / SECOND)} s` : `in ${Math.ceil(ms / MINUTE)} min`;
}

/** A moment to come. */
export function comingMoment(at: number, now: Now): Html {
  const iso = isoOf(at);
  if (iso === null) return html`<span>?</span>`;
  return html`<time datetime="${iso}" data-ahead="${at}" title="${iso}">${now === null ? '' : ahead(at - now)}</time>`;
}

/** Null for what is no moment of this calendar: anybody may write any number to Redis. */
function isoOf(at: number): string | null {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** `2026-11-26 12:14 UTC`. */
export function moment(at: number): string {
  return isoOf(at)?.replace(/T(\d\d:\d\d).*/, ' $1 UTC') ?? '?';
}

/** `850 ms`, `12.3 s`, `4 min 05 s`. */
export function duration(ms: number): string {
  if (Math.round(ms) < SECOND) return `${Math.round(ms)} ms`;
  if (Math.round(ms / 100) < 600) return `${(ms / SECOND).toFixed(1)} s`;
  const seconds = Math.round(ms / SECOND);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

/** `950`, `12.3k`, `1.2M`: for a glance. */
export function short(count: number): string {
  if (count < 1_000) return String(Math.round(count));
  if (count < 999_950) return `${trimmed(count / 1_000)}k`;
  return `${trimmed(count / 1_000_000)}M`;
}

/** `12,345`. */
export function whole(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** `340 MiB`, `1.2 GiB`. */
export function size(bytes: number): string {
  const kib = bytes / 1_024;
  if (kib < 1) return `${Math.round(bytes)} B`;
  if (kib < 1_024) return `${trimmed(kib)} KiB`;
  return kib < 1_024 * 1_024 ? `${trimmed(kib / 1_024)} MiB` : `${trimmed(kib / 1_024 / 1_024)} GiB`;
}

/** `$0.0042`, `$1.20`: cheap models cost less than a cent an attempt. */
export function dollars(usd: number): string {
  if (usd > 0 && usd < 0.00005) return '<$0.0001';
  return `$${usd.toFixed(usd > 0 && usd < 0.1 ? 4 : 2)}`;
}

/** `1 task`, `2 tasks`. */
export function counted(count: number, word: string): string {
  return `${whole(count)} ${word}${count === 1 ? '' : 's'}`;
}

function trimmed(value: number): string {
  return value < 100 ? value.toFixed(1).replace(/\.0$/, '') : String(Math.round(value));
}
