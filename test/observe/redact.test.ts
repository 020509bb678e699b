import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MASK, Redactor } from '../../src/observe/redact.ts';
import { formsOf } from '../../src/observe/secret-forms.ts';

const SECRET = 'sk-Zm9vYmFy+/4242 "x"';

/** The bytes redacted, cut into chunks at these places. */
function redacted(redactor: Redactor, bytes: Buffer, cuts: readonly number[] = []): Buffer {
  const stream = redactor.stream();
  const places = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const parts = places.slice(1).map((to, index) => stream.push(Buffer.from(bytes.subarray(places[index], to))));
  return Buffer.concat([...parts, stream.end()]);
}

/** What is asked for, in the plainest way: every place that a pattern covers, and one mask for each run of them. */
function plainly(patterns: readonly Buffer[], bytes: Buffer): Buffer {
  const covered = new Uint8Array(bytes.length);
  for (const pattern of patterns) {
    for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 1)) {
      covered.fill(1, at, at + pattern.length);
    }
  }
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    if (covered[at] === 0) parts.push(bytes.subarray(at, at + 1));
    else if (covered[at - 1] !== 1) parts.push(Buffer.from(MASK));
  }
  return Buffer.concat(parts);
}

// Few different characters, so that secrets overlap, repeat and nearly match; none of the mask's own.
const few = (minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom('x', 'y', 'z', '\n', 'ä', '"', '/', '+'), minLength, maxLength });
const secrets = fc.array(few(8, 20), { maxLength: 6 });
const cuts = fc.array(fc.nat(5_000), { maxLength: 30 });
const piece = (known: readonly string[]) => {
  const forms = known.flatMap(secret => formsOf(secret));
  const noise = [few(0, 12).map(text => Buffer.from(text)), fc.uint8Array({ maxLength: 9 }).map(Buffer.from)];
  if (forms.length === 0) return fc.oneof(...noise);
  const nearly = fc.tuple(fc.constantFrom(...forms), fc.nat(40)).map(([form, length]) => form.subarray(0, length));
  return fc.oneof(...noise, fc.constantFrom(...forms), nearly);
};
const cases = secrets.chain(known =>
  fc.tuple(fc.constant(known), fc.array(piece(known), { maxLength: 12 }).map(Buffer.concat), cuts),
);

describe('a stream of bytes', () => {
  test('holds no secret afterwards, however it was cut, and all else byte by byte', () => {
    fc.assert(
      fc.property(cases, ([known, bytes, places]) => {
        const redactor = new Redactor(known);
        const patterns = known.flatMap(secret => formsOf(secret));
        const clean = redacted(redactor, bytes, places);
        expect(clean.equals(plainly(patterns, bytes))).toBe(true);
        expect(patterns.filter(pattern => clean.includes(pattern))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is the same however it was cut, byte by byte too', () => {
    fc.assert(
      fc.property(cases, ([known, bytes]) => {
        const redactor = new Redactor(known);
        const everywhere = Array.from({ length: bytes.length }, (_, at) => at);
        expect(redacted(redactor, bytes, everywhere).equals(redacted(redactor, bytes))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('without secrets is what came in, bytes that are no UTF-8 included', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2_000 }).map(Buffer.from), cuts, (bytes, places) => {
        expect(redacted(new Redactor([SECRET, 'another secret']), bytes, places).equals(bytes)).toBe(true);
      }),
    );
  });

  test('is kept back by less than the longest secret', () => {
    fc.assert(
      fc.property(cases, ([known, bytes, places]) => {
        const redactor = new Redactor(known);
        const stream = redactor.stream();
        let given = 0;
        const lengths = [...places.map(place => place % 100), bytes.length];
        let at = 0;
        for (const length of lengths) {
          stream.push(Buffer.from(bytes.subarray(at, at + length)));
          at = Math.min(at + length, bytes.length);
          given = Math.max(given, stream.heldBack);
        }
        expect(given).toBeLessThan(Math.max(1, redactor.patterns.longest));
      }),
    );
  });

  test('keeps back nothing of a secret that repeats without end', () => {
    const stream = new Redactor(['abcdefgh']).stream();
    const given = Array.from({ length: 1_000 }, () => stream.push(Buffer.from('abcdefgh')));
    expect(stream.heldBack).toBe(0);
    expect(Buffer.concat([...given, stream.end()]).toString()).toBe(MASK);
  });

  test('is searched anew from what was kept back when a secret becomes known meanwhile', () => {
    const redactor = new Redactor(['first-secret']);
    const stream = redactor.stream();
    const parts = [stream.push(Buffer.from('a first-'))];
    redactor.add(['first-other']);
    parts.push(stream.push(Buffer.from('other b first-sec')));
    redactor.add(['unrelated']);
    parts.push(stream.push(Buffer.from('ret c')), stream.end());
    expect(Buffer.concat(parts).toString()).toBe(`a ${MASK} b ${MASK} c`);
  });

  test('tells a secret once whose mask is out when others become known', () => {
    const redactor = new Redactor(['aaaabbbbcccc', 'bbbbccccdddd-long']);
    const stream = redactor.stream();
    const parts = [stream.push(Buffer.from('> aaaabbbbcccc'))];
    redactor.add(['unrelated']);
    parts.push(stream.push(Buffer.from(' <')), stream.end());
    expect(Buffer.concat(parts).toString()).toBe(`> ${MASK} <`);
  });
});

describe('a secret is found', () => {
  const redactor = new Redactor([SECRET, 'päss wörd 1', 'p4ssw0rd-of-the-cell']);
  test.each([
    ['as it is', `>${SECRET}<`, `>${MASK}<`],
    ['as JSON writes it', JSON.stringify({ key: SECRET }), `{"key":"${MASK}"}`],
    ['as URLs write it', `?k=${encodeURIComponent(SECRET)}&a=1`, `?k=${MASK}&a=1`],
    ['in a form, with small letters', 'u=p%c3%a4ss%20w%c3%b6rd%201', `u=${MASK}`],
    ['in a form, with plus signs', 'u=p%C3%A4ss+w%C3%B6rd+1', `u=${MASK}`],
  ])('%s', (_, text, clean) => {
    expect(redactor.text(text)).toBe(clean);
  });

  test('in base64, whatever stands before and behind it', () => {
    for (const before of ['', 'a', 'ab', 'opencode:', 'user:', 'x'.repeat(57)]) {
      for (const behind of ['', '\n', 'ab']) {
        const text = Buffer.from(`${before}p4ssw0rd-of-the-cell${behind}`).toString('base64');
        const clean = redactor.text(`Authorization: Basic ${text}`);
        expect(clean).toContain(MASK);
        // At either end a character may be left that tells some bits of a letter.
        const left = Buffer.from(clean.split(MASK)[1] ?? '', 'base64').toString('latin1');
        expect(left).not.toMatch(/cell/);
      }
    }
  });

  test('line by line when it has several, without the lines that tell nothing', () => {
    const lines = Array.from({ length: 6 }, () => randomBytes(48).toString('base64'));
    const pem = ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n');
    const key = new Redactor([pem]);
    expect(key.text(`two lines:\n  ${lines[2]}\r\n  ${lines[3]}`)).toBe(`two lines:\n  ${MASK}\r\n  ${MASK}`);
    expect(key.text(`all: ${pem}.`)).toBe(`all: ${MASK}.`);
    expect(key.text(`as JSON: ${JSON.stringify(pem)}`)).toBe(`as JSON: "${MASK}"`);
    expect(key.text('-----BEGIN PRIVATE KEY-----')).toBe('-----BEGIN PRIVATE KEY-----');
  });

  test('of any length, without keeping back that much', () => {
    const long = randomBytes(9_000).toString('hex');
    const redactorOfLong = new Redactor([long]);
    expect(redactorOfLong.text(`<${long}>`)).toBe(`<${MASK}>`);
    expect(redactorOfLong.patterns.longest).toBeLessThanOrEqual(1_024);
  });
});

describe('a redactor', () => {
  test('forgets what is worth nothing any more, but not at once', () => {
    const redactor = new Redactor();
    const givenUp = Array.from({ length: 65 }, (_, index) => redactor.add([`password-number-${index}!`]));
    const kept = redactor.add(['password-number-7!', 'password-of-another']);
    const text = 'password-number-0! password-number-7! password-number-64! password-of-another';
    for (const giveUp of givenUp) {
      giveUp();
      giveUp();
    }
    expect(redactor.text(text)).toBe(`password-number-0! ${MASK} ${MASK} ${MASK}`);
    kept();
    expect(redactor.text(text)).toBe(`password-number-0! ${MASK} ${MASK} ${MASK}`);
  });

  test('redacts data at any depth, names of keys too, and what must stay stays', () => {
    const data = { id: 'token-4242', list: [{ 'a token-4242 b': 'token-4242' }, 4242, null, true], other: undefined };
    expect(new Redactor(['token-4242']).deep(data, new Set(['id']))).toEqual({
      id: 'token-4242',
      list: [{ [`a ${MASK} b`]: MASK }, 4242, null, true],
      other: undefined,
    });
  });

  test('leaves a text as it is when it holds no secret, half characters included', () => {
    expect(new Redactor(['token-4242']).text('a\ud800b')).toBe('a\ud800b');
  });

  test('is not made useless by a secret that is empty, short or the mask itself', () => {
    expect(new Redactor(['', 'abc', 'redacted', MASK]).text(`abc ${MASK}`)).toBe(`abc ${MASK}`);
  });
});
