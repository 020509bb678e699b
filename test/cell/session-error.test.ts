/** The errors are as opencode 1.18.33 told them, measured with a provider that gave each of these answers. */
import { describe, expect, test, vi } from 'vitest';
import { type SessionError, sessionError } from '../../src/cell/session-error.ts';

const api = (message: string, more: Record<string, unknown> = {}) =>
  ({ name: 'APIError', data: { message, isRetryable: false, ...more } }) as SessionError;
const unknown = (message: string) => ({ name: 'UnknownError', data: { message } }) as SessionError;

describe('an error of a session is', () => {
  test.each<[string, SessionError, string, boolean]>([
    ['a rate limit', api('slow down', { statusCode: 429 }), 'PROVIDER_BUSY', true],
    ['a fault of the provider', api('the script says 500', { statusCode: 500 }), 'PROVIDER_BUSY', true],
    ['an overload', api('Overloaded', { statusCode: 529 }), 'PROVIDER_BUSY', true],
    ['a request that took the provider too long', api('timeout', { statusCode: 408 }), 'PROVIDER_BUSY', true],
    ['an overload told with another status', api('Overloaded', { statusCode: 400 }), 'PROVIDER_BUSY', true],
    ['an overload told within an answer', unknown('{"message":"Overloaded","code":529}'), 'PROVIDER_BUSY', true],
    ['no connection', api('Cannot connect to API', { isRetryable: true }), 'PROVIDER_BUSY', true],
    ['a bad request', api('the script says 400', { statusCode: 400 }), 'SESSION_FAILED', true],
    ['a wrong key', api('invalid x-api-key', { statusCode: 401 }), 'PROVIDER_REFUSED', false],
    ['a forbidden one', api('Overloaded', { statusCode: 403 }), 'PROVIDER_REFUSED', false],
    [
      'no key at all',
      { name: 'ProviderAuthError', data: { providerID: 'p', message: 'none' } },
      'PROVIDER_REFUSED',
      false,
    ],
    ['an unknown model', unknown('Model not found: scripted/none.'), 'UNKNOWN_MODEL', false],
    [
      'an unknown model with its trace',
      unknown('ProviderModelNotFoundError: Model not found: a/b.'),
      'UNKNOWN_MODEL',
      false,
    ],
    ['an unknown agent', unknown('Agent not found: "nope". Available agents: build'), 'UNKNOWN_MODEL', false],
    [
      'a model unknown to its provider',
      api('The model `x` does not exist', { statusCode: 404 }),
      'UNKNOWN_MODEL',
      false,
    ],
    ['a wrong address', api('Not Found', { statusCode: 404 }), 'SESSION_FAILED', true],
    [
      'a context that is too long',
      { name: 'ContextOverflowError', data: { message: 'rate limit' } },
      'SESSION_FAILED',
      true,
    ],
    ['an abort', { name: 'MessageAbortedError', data: { message: 'aborted' } }, 'SESSION_FAILED', true],
    ['nothing at all', undefined, 'SESSION_FAILED', true],
  ])('%s', (_, error, code, retryable) => {
    expect(sessionError(error)).toMatchObject({ code, retryable });
  });

  test.each([
    [{ 'retry-after': '40' }, 40_000],
    [{ 'Retry-After': '0.5' }, 500],
    [{ 'retry-after-ms': '1500', 'retry-after': '40' }, 1_500],
    [{ 'retry-after': 'Sun, 22 Nov 2026 12:01:00 GMT' }, 60_000],
    [{ 'retry-after': 'Sun, 22 Nov 2026 11:00:00 GMT' }, 0],
    [{ 'retry-after': '-5' }, 0],
    [{ 'retry-after': 'soon' }, 0],
    [{ 'retry-after': '99999999999999' }, 7 * 86_400_000],
    ['nonsense', 0],
    [undefined, 0],
  ])('a wait as long as the headers say: %j is %i ms', (responseHeaders, retryAfterMs) => {
    vi.useFakeTimers({ now: Date.parse('2026-11-22T12:00:00Z'), toFake: ['Date'] });
    const error = sessionError(api('slow down', { statusCode: 429, responseHeaders }));
    vi.useRealTimers();
    expect(error.facts).toEqual({ retryAfterMs, status: 429 });
  });

  test("told in the provider's words, without its keys", () => {
    const error = sessionError(api('Incorrect API key provided: sk-ab***********wxyz.', { statusCode: 401 }));
    expect(error.message).toBe('the provider refused the credentials: Incorrect API key provided: [masked].');
  });
});
