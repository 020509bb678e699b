/** Who may use the board. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accessOf, Credentials, isLoopback } from '../../src/board/access.ts';
import { InvalidInput } from '../../src/errors.ts';

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

describe('where it listens', () => {
  test.each(['127.0.0.1', '127.8.9.10', 'localhost', '::1', '[::1]'])('%s needs no password', host => {
    expect(isLoopback(host)).toBe(true);
    expect(accessOf({ host })).toBeNull();
  });

  test.each([
    '0.0.0.0',
    '::',
    '192.168.1.7',
    'build-7',
    '127.0.0.1.example.org',
    'localhost.example.org',
    '::ffff:127.0.0.1',
  ])('%s is refused without one', host => {
    expect(() => accessOf({ host })).toThrow(/can be reached from other machines: set CELLPOOL_BOARD_AUTH/);
    expect(accessOf({ host, token: 'long-enough' })).toBeInstanceOf(Credentials);
  });

  test('a password is asked for on the loopback too, when one was given', () => {
    expect(accessOf({ host: '127.0.0.1', auth: 'ada:correct-horse' })).toBeInstanceOf(Credentials);
  });
});

test('what is no password or token is refused with every fault, and not quoted', () => {
  let thrown: unknown;
  try {
    accessOf({ host: '0.0.0.0', auth: 'ada:hunter2', token: 'top secret' });
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(InvalidInput);
  const { message, exitCode } = thrown as InvalidInput;
  expect(exitCode).toBe(2);
  expect(message).toBe(
    '--auth: has a password of fewer than 8 characters\n--token: is made of letters, digits and signs of ASCII',
  );
  expect(message).not.toMatch(/hunter2|top secret/);
  for (const auth of ['ada', ':password', 'ada:']) {
    expect(() => accessOf({ host: '::1', auth })).toThrow('--auth: is written user:password');
  }
});

describe('a caller', () => {
  const both = new Credentials({ auth: 'ada:pass:word', token: 'token-1234' });

  test.each([
    ['user and password', basic('ada:pass:word')],
    ['the token', 'Bearer token-1234'],
    ['the token as the password of any user', basic('anybody:token-1234')],
    ['a scheme in other letters', 'bearer token-1234'],
  ])('is let in with %s', (_name, header) => {
    expect(both.accept(header)).toBe(true);
  });

  test.each([
    ['nothing', undefined],
    ['an empty header', ''],
    ['another user', basic('bob:pass:word')],
    ['another password', basic('ada:password')],
    ['the token in its beginning', 'Bearer token-123'],
    ['the token and more', 'Bearer token-12345'],
    ['user and password as a token', 'Bearer ada:pass:word'],
    ['another scheme', 'Digest token-1234'],
    ['no base64', 'Basic %%%'],
    ['a header without end', `Bearer ${'x'.repeat(100_000)}`],
  ])('is not let in with %s', (_name, header) => {
    expect(both.accept(header)).toBe(false);
  });

  test('is let in with what is the same to the last character, and nothing else', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (known, given) => {
        const [one, other] = [known, given].map(text => Buffer.from(text).toString('base64url'));
        const credentials = new Credentials({ token: one });
        expect(credentials.accept(`Bearer ${one}`)).toBe(true);
        expect(credentials.accept(`Bearer ${other}`)).toBe(one === other);
      }),
    );
  });

  test('shows nothing of what it knows', () => {
    expect(JSON.stringify(both)).toBe('{}');
  });
});
