import { expect, test } from 'vitest';
import { InvalidInput } from '../../src/errors.ts';
import { describeAddress, parseRedisUrl } from '../../src/redis/address.ts';

test.each([
  ['redis://localhost', { url: 'redis://localhost' }],
  ['redis://user:secret@host:6380/3', { url: 'redis://user:secret@host:6380/3' }],
  ['rediss://:secret@host', { url: 'rediss://:secret@host' }],
  ['unix:///run/my%20redis.sock', { path: '/run/my redis.sock' }],
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
])('%s is shown as %s', (url, shown) => {
  expect(describeAddress(parseRedisUrl(url))).toBe(shown);
});
