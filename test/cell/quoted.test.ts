import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { quoted } from '../../src/cell/quoted.ts';

describe("a quotation of a provider's words", () => {
  test.each([
    ['Incorrect API key provided: sk-proj-Ab12Cd34Ef56.', 'Incorrect API key provided: [masked].'],
    ['key sk-ant-api03-AAAA_BBBB-cccc is not valid', 'key [masked] is not valid'],
    ['Incorrect API key: sk-ab***********wxyz', 'Incorrect API key: [masked]'],
    ['no access for gsk_a1B2c3D4e5F6', 'no access for [masked]'],
    ['AIzaSyA1234567890abcdefghijklmnopqrstuvw refused', '[masked] refused'],
    ['{"authorization":"Bearer abcdef123"}', '{"authorization":"Bearer [masked]"}'],
    ['GET https://x.example/v1?key=abc123def&alt=sse', 'GET https://x.example/v1?key=[masked]&alt=sse'],
    ['proxy http://user:hunter2@proxy.example:80 failed', 'proxy http://[masked]@proxy.example:80 failed'],
    ['password=hunter', 'password=[masked]'],
    ['token 0123456789abcdef0123456789abcdef', 'token [masked]'],
    ['jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.x', 'jwt [masked].[masked].x'],
    ['aws wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'aws [masked]'],
  ])('masks the key in: %s', (said, shown) => {
    expect(quoted(said)).toBe(shown);
  });

  test.each([
    'The model `claude-sonnet-4-5-20250929` does not exist or you do not have access to it.',
    'Invalid API key: please check it at https://platform.openai.com/account/api-keys',
    'Rate limit reached for gpt-4.1-mini-2025-04-14 on tokens per min (TPM): Limit 200000, Used 199999',
    'Model not found: scripted/none.',
    'maximum context length is 200000 tokens: 123456789 given',
    'Cannot connect to API: Unable to connect. Is the computer able to access the url?',
  ])('leaves as it is: %s', said => {
    expect(quoted(said)).toBe(said);
  });

  test('is one line of at most 300 characters, without control characters', () => {
    expect(quoted(' one\n\u001b[31mtwo\t three \u0000')).toBe('one [31mtwo three');
    expect(quoted('word '.repeat(1_000_000))).toMatch(/^.{299}…$/);
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 5_000 }), said => quoted(said).length <= 300));
  });

  test('never holds a key, wherever in the text it stands', () => {
    const words = fc.array(fc.constantFrom('rate', 'limit', 'for', 'key', '"', ':', '\n', 'x'.repeat(3_990)), {
      maxLength: 12,
    });
    const secret = fc.stringMatching(/^[a-z]\d[A-Za-z0-9]{30,60}$/);
    fc.assert(
      fc.property(words, secret, words, (before, key, after) => {
        expect(quoted([...before, `sk-${key}`, ...after].join(' '))).not.toContain(key.slice(0, 10));
        expect(quoted([...before, key, ...after].join(' '))).not.toContain(key.slice(0, 10));
      }),
    );
  });
});
