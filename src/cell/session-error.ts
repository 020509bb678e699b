/**
 * What a `session.error` of the server says about the attempt: provider busy, provider refuses, unknown name, or a
 * failure of the session itself. Seen of opencode 1.18.33, which decides by the same marks what it retries:
 *
 * | the provider | what is told |
 * |---|---|
 * | 408, 409, 429, every 5xx, no connection, "Overloaded" in an answer | retry notices; after five, as its code has it, an error |
 * | 400, 402, 404 | APIError with `statusCode`, at once |
 * | 401, 403 | APIError with `statusCode`, at once; without any key ProviderAuthError |
 * | 413 | ContextOverflowError |
 * | never asked: no such model, provider or agent | UnknownError, "Model not found: a/b.", no `statusCode` |
 *
 * After each of them comes `session.idle`.
 */
import type { Event } from '@opencode-ai/sdk/v2/client';
import { CellpoolError } from '../errors.ts';
import { quoted } from './quoted.ts';

export type SessionError = Extract<Event, { type: 'session.error' }>['properties']['error'];

/** What opencode says, in words only, when a name in the task is none that it knows. */
const UNKNOWN_NAME = /^(\w*Error: )?(Model|Agent|Provider) not found/;
/** Providers answer 404 for a model they do not have: "The model `x` does not exist", "model: x". */
const ABOUT_A_MODEL = /\bmodel\b/i;
/** The errors that come from the provider's answer; the others name a reason of their own. */
const FROM_PROVIDER = new Set(['APIError', 'UnknownError']);
const BUSY_WORDS = /overloaded|rate.?limit|too.?many.?requests|service.?unavailable|resource.?exhausted|at capacity/i;

/** The error of the attempt. Refused credentials and unknown names do not get better by trying again. */
export function sessionError(error: SessionError): CellpoolError {
  const data: Record<string, unknown> = error?.data ?? {};
  const status = typeof data.statusCode === 'number' ? data.statusCode : undefined;
  const said = quoted(typeof data.message === 'string' ? data.message : (error?.name ?? 'no reason given'));
  const facts = { name: error?.name, status };
  if (error?.name === 'ProviderAuthError' || status === 401 || status === 403) {
    const hint = "Check the provider's key (opencode auth login, or its environment variable).";
    return new CellpoolError('PROVIDER_REFUSED', `the provider refused the credentials: ${said}`, { facts, hint });
  }
  if (UNKNOWN_NAME.test(said) || (status === 404 && ABOUT_A_MODEL.test(said))) {
    const hint = 'A provider is known only when its key is there: its variable, or opencode auth login.';
    return new CellpoolError('UNKNOWN_MODEL', `${said} (is the name right, and is its key there?)`, { facts, hint });
  }
  if (error !== undefined && FROM_PROVIDER.has(error.name) && isBusy(status, data.isRetryable, said)) {
    return providerBusy(said, { retryAfterMs: retryAfterOf(data.responseHeaders, Date.now()), status });
  }
  return new CellpoolError('SESSION_FAILED', `the session failed: ${said}`, { facts });
}

/** PROVIDER_BUSY: the provider's trouble, in its own words; `retryAfterMs` is 0 when nobody named a time. */
export function providerBusy(
  said: string,
  { retryAfterMs, status }: { retryAfterMs: number; status?: number | undefined },
): CellpoolError {
  return new CellpoolError('PROVIDER_BUSY', `the provider is busy: ${said}`, {
    facts: { retryAfterMs, ...(status === undefined ? {} : { status }) },
    hint: 'The task is not to blame; it is tried again later.',
  });
}

function isBusy(status: number | undefined, isRetryable: unknown, said: string): boolean {
  // Without a status the provider was not reached, or it broke off; opencode then says whether that may pass.
  return isRetryable === true || status === 408 || status === 429 || (status ?? 0) >= 500 || BUSY_WORDS.test(said);
}

/** Milliseconds that the headers ask to wait from `now` (epoch ms): `retry-after` in seconds or as a date. */
function retryAfterOf(headers: unknown, now: number): number {
  if (typeof headers !== 'object' || headers === null) return 0;
  const named = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
  const inMs = Number.parseFloat(named.get('retry-after-ms') ?? '');
  if (Number.isFinite(inMs)) return bounded(inMs);
  const text = named.get('retry-after') ?? '';
  if (/^\s*[\d.]+\s*$/.test(text)) return bounded(Number.parseFloat(text) * 1_000);
  const date = Date.parse(text);
  return Number.isNaN(date) ? 0 : bounded(date - now);
}

/** A week at most: a provider that names a year, or nonsense, is asked again sooner. */
const MAX_WAIT_MS = 7 * 86_400_000;

/** A time to wait that somebody else named, as whole milliseconds from 0 to a week. */
export function bounded(waitMs: number): number {
  return Number.isNaN(waitMs) ? 0 : Math.round(Math.min(Math.max(waitMs, 0), MAX_WAIT_MS));
}
