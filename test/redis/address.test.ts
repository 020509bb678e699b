import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { describeAddress, parseRedisUrl } from '../../src/redis/address.ts';

test.each([
  ['redis://localhost', { url: 'redis://localhost' }],
  ['redis://user:secret@host:6380/3', { url: 'redis://user:secret@host:6380/3' }],
  ['rediss://:secret@host', { url: 'rediss://:secret@host' }],
  ['unix:///run/my%20redis.sock', { path: '/run/my redis.sock' }],
  [
    'redis+sentinel://user:se%2Fcret@one,two:26380/the-master/3?sentinelPassword=other',
    {
      sentinels: [
        { host: 'one', port: 26379 },
        { host: 'two', port: 26380 },
      ],
      master: 'the-master',
      db: 3,
      tls: false,
      of: { username: 'user', password: 'se/cret' },
      ofSentinels: { password: 'other' },
    },
  ],
  [
    'rediss+cluster://:secret@[::1]:7000,two/',
    {
      nodes: [
        { host: '::1', port: 7000 },
        { host: 'two', port: 6379 },
      ],
      tls: true,
      of: { password: 'secret' },
    },
  ],
])('%s is an address', (url, address) => {
  expect(parseRedisUrl(url)).toEqual(address);
});

test.each([
  ['secret', 'is not a URL'],
  ['http://:secret@host', 'scheme'],
  ['redis://:secret%zz@host', '%'],
  ['redis://:se/cret@host', 'is not a URL'],
  ['redis://', 'no host'],
  ['redis://:secret@host/one', 'not a number'],
  ['unix://secret/path', 'more than a path'],
  ['unix:///path?password=secret', 'more than a path'],
  ['unix:', 'no absolute path'],
  ['redis+sentinel://:secret@one', 'NAME'],
  ['redis+sentinel://:secret@one/secret/x', 'NAME'],
  ['redis+sentinel://:secret@one,/ours', 'host'],
  ['redis+sentinel://:secret@one:99999/ours', 'host'],
  ['redis+sentinel://:secret%zz@one/ours', '%'],
  ['redis+sentinel://one/ours?password=secret', 'options'],
  ['redis+cluster://:secret@one/1', 'database'],
  ['redis+cluster://:secret@one?sentinelPassword=secret', 'options'],
  ['redis+cluster:secret', 'URL'],
])('%s is refused with the reason, and without showing the password', (url, reason) => {
  const parse = () => parseRedisUrl(url, 'REDIS_URL');
  expect(parse).toThrow(InvalidInput);
  expect(parse).toThrow(new RegExp(`^REDIS_URL: .*${reason}`));
  expect(parse).not.toThrow(/se.?cret/);
});

test.each([
  ['redis://user:secret@host:6380/3', 'redis://user:***@host:6380/3'],
  ['rediss://:secret@host/?password=secret', 'rediss://:***@host'],
  ['redis://user@host', 'redis://user@host'],
  ['unix:///run/redis.sock', 'unix:///run/redis.sock'],
  ['redis+sentinel://u:secret@one/ours?sentinelPassword=secret', 'redis+sentinel://u:***@one:26379/ours'],
  ['rediss+sentinel://one,two:1/ours/2', 'rediss+sentinel://one:26379,two:1/ours/2'],
  ['redis+cluster://:secret@[::1]', 'redis+cluster://:***@[::1]:6379'],
])('%s is shown as %s', (url, shown) => {
  expect(describeAddress(parseRedisUrl(url))).toBe(shown);
});

test('no address of several servers is shown with a password, whatever stands in it', () => {
  const password = fc.string({ minLength: 4, unit: 'binary-ascii' }).filter(text => /[^a-z0-9.:,*-]/.test(text));
  fc.assert(
    fc.property(password, fc.constantFrom('redis+sentinel', 'rediss+cluster'), (secret, scheme) => {
      const path = scheme === 'redis+sentinel' ? '/ours' : '';
      const address = parseRedisUrl(`${scheme}://user:${encodeURIComponent(secret)}@one:1,two:2${path}`);
      expect(address).toMatchObject({ of: { username: 'user', password: secret } });
      expect(describeAddress(address)).not.toContain(secret);
    }),
  );
});
