/** What is asked of a request before anything is done with it. */
import { describe, expect, test } from 'vitest';
import { Credentials } from '../../src/board/access.ts';
import { type Place, type RequestFacts, refusalOf } from '../../src/board/guard.ts';

const open: Place = { host: '127.0.0.1', port: 3000, credentials: null };
const closed: Place = { host: '0.0.0.0', port: 3000, credentials: new Credentials({ token: 'token-1234' }) };
const BEARER = 'Bearer token-1234';

function request(given: Partial<RequestFacts> = {}): RequestFacts {
  const left = {
    origin: undefined,
    fetchSite: undefined,
    fetchMode: undefined,
    contentType: undefined,
    contentLength: undefined,
  };
  const more = { transferEncoding: undefined, authorization: undefined };
  return { method: 'GET', path: '/', host: '127.0.0.1:3000', ...left, ...more, ...given };
}

const status = (given: Partial<RequestFacts>, place = open) => refusalOf(request(given), place)?.status ?? null;

describe('without a password, the name it is called by', () => {
  test.each(['127.0.0.1:3000', 'localhost:3000', 'LOCALHOST:3000', '[::1]:3000'])('%s is answered', host => {
    expect(status({ host })).toBeNull();
  });

  test.each([
    undefined,
    '',
    'evil.example:3000',
    'localhost.evil.example:3000',
    '127.0.0.1.evil.example:3000',
    'localhost',
    'localhost:3001',
    'localhost:3000:3000',
    '192.168.1.7:3000',
    '0.0.0.0:3000',
    'evil@localhost:3000',
  ])('%s is refused', host => {
    expect(status({ host })).toBe(421);
  });

  test('is the address it was told to listen on as well, and without a port at port 80', () => {
    expect(status({ host: '127.0.0.5:3000' }, { ...open, host: '127.0.0.5' })).toBeNull();
    expect(status({ host: 'localhost' }, { ...open, port: 80 })).toBeNull();
  });

  test('matters for every path', () => {
    for (const path of ['/healthz', '/queues', '/api/pool', '/events']) {
      expect(status({ path, host: 'evil.example:3000' })).toBe(421);
    }
  });
});

describe('with a password', () => {
  test('nothing is told without it but whether the board lives and is ready, under whatever name', () => {
    for (const path of ['/', '/events', '/api/pool', '/queues', '/assets/board.css', '/metrics', '/healthz/x']) {
      expect(status({ path, host: 'board.example' }, closed)).toBe(401);
      expect(status({ path, host: 'board.example', authorization: BEARER }, closed)).toBeNull();
    }
    for (const path of ['/healthz', '/readyz']) expect(status({ path, host: 'board.example' }, closed)).toBeNull();
  });
});

describe('an action', () => {
  const post = (given: Partial<RequestFacts>, place = open) =>
    status({ method: 'POST', path: '/api/pause', ...given }, place);

  test.each([
    ['says the browser that it comes from this site', { fetchSite: 'same-origin', origin: 'http://127.0.0.1:3000' }],
    ['has this origin', { origin: 'http://127.0.0.1:3000' }],
    ['comes from this site, no origin told', { fetchSite: 'same-origin' }],
    ['is JSON of a program that tells neither', { contentType: 'application/json; charset=utf-8' }],
  ])('is taken when it %s', (_name, given) => {
    expect(post(given)).toBeNull();
  });

  test.each([
    ['of another site', { fetchSite: 'cross-site', origin: 'http://evil.example' }],
    ['of another site of the same owner', { fetchSite: 'same-site', origin: 'http://127.0.0.1:3000' }],
    ['typed by hand', { fetchSite: 'none' }],
    ['of another origin', { origin: 'http://evil.example' }],
    ['of another port of this machine', { origin: 'http://127.0.0.1:3001' }],
    [
      'of another origin, that the browser says nothing of but JSON',
      { origin: 'http://evil.example', contentType: 'application/json' },
    ],
    ['of no origin (a sandboxed page)', { origin: 'null' }],
    ['of an origin that is none', { origin: 'http://' }],
    ['that tells nothing', {}],
    ['that tells nothing and is a form', { contentType: 'application/x-www-form-urlencoded' }],
    ['that tells nothing and is a text that hides JSON', { contentType: 'text/plain; application/json' }],
  ])('%s is refused', (_name, given) => {
    expect(post(given)).toBe(403);
    // Who has the password may be led astray as well: browsers send it along.
    expect(post({ ...given, host: '127.0.0.1:3000', authorization: BEARER }, closed)).toBe(403);
  });

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'])('by %s is asked the same', method => {
    expect(status({ method, path: '/queues/api/queues/tasks/pause', origin: 'http://evil.example' })).toBe(403);
  });

  test('says how long its body is, and that is not long', () => {
    const ours = { fetchSite: 'same-origin' };
    expect(post({ ...ours, contentLength: '0' })).toBeNull();
    expect(post({ ...ours, contentLength: '262144' })).toBeNull();
    for (const contentLength of ['262145', '1e9', 'nonsense', '-']) expect(post({ ...ours, contentLength })).toBe(413);
    expect(post({ ...ours, transferEncoding: 'chunked' })).toBe(411);
  });

  test('behind a proxy that speaks TLS keeps its name', () => {
    const proxied = { host: 'board.example', origin: 'https://board.example', authorization: BEARER };
    expect(post(proxied, closed)).toBeNull();
  });
});

test('a page of another site makes the board read nothing, and a link there may lead to it', () => {
  for (const fetchSite of ['cross-site', 'same-site']) {
    for (const fetchMode of ['no-cors', 'cors', 'websocket']) {
      expect(status({ path: '/api/tasks', fetchSite, fetchMode })).toBe(403);
    }
    expect(status({ path: '/tasks/a', fetchSite, fetchMode: 'navigate' })).toBeNull();
  }
  for (const fetchSite of ['same-origin', 'none']) expect(status({ fetchSite, fetchMode: 'cors' })).toBeNull();
});
