/** What a task may name as its repository: every form that git is given, and that nothing else is. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isUrl, repositorySchema, urlFaults } from '../../src/job/repository.ts';

describe('an address', () => {
  test.each([
    'https://example.org/team/app.git',
    'https://example.org:8443/app',
    'https://[2001:db8::1]:8443/app.git',
    'ssh://git@example.org/team/app.git',
    'ssh://example.org:2222/~me/app.git',
    'ssh://git@[2001:db8::1]/app.git',
    'git@example.org:team/app.git',
    'example.org:app.git',
    'build-host:/srv/git/app.git',
    'git@[::1]:app.git',
    'file:///srv/git/app.git',
    'file:///srv/my%20repositories/app.git',
    'http://127.0.0.1:8080/app.git',
    'http://localhost/app.git',
    'http://[::1]:80/app.git',
  ])('of the form %s is accepted, and is no path', url => {
    expect(isUrl(url)).toBe(true);
    expect(urlFaults(url)).toEqual([]);
    expect(repositorySchema.safeParse(url).success).toBe(true);
  });

  const CREDENTIALS = 'may hold neither user nor password: git asks its credential helper for them';
  const OF_SSH = 'may hold no password: ssh has its keys and its agent';
  const FORMS = 'must begin with https://, ssh:// or file://, or be written user@host:path';
  const HELPER = 'may not contain "::", by which git runs a helper program';
  const NO_HOST = 'names no host that git may be given';
  const NOTHING = 'names no repository on its host';
  const SPACES = 'may contain no spaces, backslashes or control characters, nor codes for these';
  const plain = (protocol: string) =>
    `${protocol} is neither encrypted nor proven to be the right server: use https or ssh`;

  test.each<[string, string[]]>([
    ['ext::sh%20-c%20id', [HELPER]],
    ['ext::sh -c id', [SPACES, HELPER]],
    ['fd::17', [HELPER]],
    ['https::https://example.org/x', [HELPER]],
    ['--upload-pack=id:x', ['may not begin with "-", which would make an option of it', NO_HOST]],
    ['-oProxyCommand=id:x', ['may not begin with "-", which would make an option of it', NO_HOST]],
    ['ssh://-oProxyCommand=id/x', [NO_HOST]],
    ['ssh://-oProxyCommand=id@example.org/x', ['has a user name that ssh is not given']],
    ['example.org:-x', ['has a path that begins with "-"']],
    ['https://user:pass@example.org/x', [CREDENTIALS]],
    ['https://ghp_0123456789@example.org/x', [CREDENTIALS]],
    ['https://@example.org/x', [CREDENTIALS]],
    ['https://a@b@example.org/x', [CREDENTIALS]],
    ['ssh://user:pass@example.org/x', [OF_SSH]],
    ['user:pass@example.org:x', [OF_SSH]],
    ['https://example.org/x?private_token=abc', ['may have no "?" and no "#"']],
    ['https://example.org/x#main', ['may have no "?" and no "#"']],
    ['https://example.org', [NOTHING]],
    ['https://example.org//', [NOTHING]],
    ['https:///x', [NO_HOST]],
    ['https://exa_mple.org:0/x', ['has a port that is none from 1 to 65535']],
    ['https://example.org:65536/x', ['has a port that is none from 1 to 65535']],
    ['https://example.org:/x', ['has a port that is none from 1 to 65535']],
    ['https://example.org:8x/x', [NO_HOST]],
    ['example.org:', [NOTHING]],
    ['example.org:/', [NOTHING]],
    ['http://example.org/x', [plain('http://')]],
    ['http://127.0.0.1.example.org/x', [plain('http://')]],
    ['git://example.org/x', [plain('git://')]],
    ['HTTPS://example.org/x', [FORMS]],
    ['ftp://example.org/x', [FORMS]],
    ['javascript://example.org/x', [FORMS]],
    ['user:secrethttps://x', [FORMS]],
    ['127.0.0.1https://x', [FORMS]],
    ['file://example.org/x', ['must have an absolute path: file:///srv/repository.git']],
    ['file://x', [NOTHING, 'must have an absolute path: file:///srv/repository.git']],
    ['https://example.org/a b', [SPACES]],
    ['https://example.org/a\nb', [SPACES]],
    ['https://example.org/a%0ab', [SPACES]],
    ['https://example.org/a\\b', [SPACES]],
    ['https://example.org/\u202eb', [SPACES]],
    [`https://example.org/${'x'.repeat(2_000)}`, ['may have at most 2000 characters']],
  ])('%j is refused, with every reason', (url, faults) => {
    expect(urlFaults(url)).toEqual(faults);
    expect(repositorySchema.safeParse(url).success).toBe(false);
  });

  test.each(['.', './a:b', '../x', '/srv/a:b', 'sub/folder', '/srv/x::y', '-x'])('%s is none, but a path', path => {
    expect(isUrl(path)).toBe(false);
  });
});

test('of paths only absolute ones stand in a job', () => {
  expect(repositorySchema.safeParse('/srv/app').success).toBe(true);
  for (const path of ['', '.', 'app', './app', '/a\0b', `/${'x'.repeat(5_000)}`]) {
    expect(repositorySchema.safeParse(path).success).toBe(false);
  }
});

/** Texts that come near to addresses: parts of them, put together in a likely order and in none. */
const part = fc.constantFrom(
  ...['https://', 'ssh://', 'file://', 'http://', 'git://', 'ext::', '::', ':', '@', '/', '//', '-', '%0a', '?', '#'],
  ...['example.org', 'localhost', '127.0.0.1', '[::1]', ':22', 'git', 'user:secret', 'app.git', '~', '..', ' ', '\n'],
);
const near = fc.oneof(
  fc.array(part, { maxLength: 7 }).map(parts => parts.join('')),
  fc
    .tuple(fc.constantFrom('https://', 'ssh://', 'file://', 'http://', ''), fc.array(part, { maxLength: 4 }))
    .map(([protocol, rest]) => `${protocol}${rest.join('')}/app`),
  fc.string({ maxLength: 30 }),
);

test('whatever is accepted makes git speak https, ssh or file, or http to this machine, and nothing else', () => {
  const env = { PATH: process.env.PATH ?? '', LC_ALL: 'C', HOME: '/nonexistent', GIT_ALLOW_PROTOCOL: 'none' };
  let accepted = 0;
  fc.assert(
    fc.property(near, url => {
      if (!isUrl(url) || urlFaults(url).length > 0) return;
      accepted += 1;
      // Without a protocol that is allowed, git says which one it would have taken.
      const { stderr, status } = spawnSync('git', ['ls-remote', url], { env, encoding: 'utf8' });
      const [, protocol] = /transport '([a-z]+)' not allowed/.exec(stderr) ?? [];
      expect([url, status, protocol]).toEqual([url, 128, expect.stringMatching(/^(https|ssh|file|http)$/)]);
      if (protocol === 'http') expect(url).toMatch(/^http:\/\/(localhost|127\.0\.0\.1|\[::1\])[:/]/);
    }),
    { numRuns: 3_000 },
  );
  expect(accepted).toBeGreaterThan(20);
});

test('no address that holds a password is accepted, and no reason repeats it', () => {
  const word = fc.stringMatching(/^[a-z0-9]{6,12}$/);
  const forms = (user: string, password: string) => [
    `https://${user}:${password}@example.org/app`,
    `http://${user}:${password}@localhost/app`,
    `ssh://${user}:${password}@example.org/app`,
    `${user}:${password}@example.org:app`,
    `https://example.org/app?token=${password}`,
    `https://${password}@example.org/app`,
  ];
  fc.assert(
    fc.property(word, word, fc.nat(5), (user, secret, which) => {
      const password = `secret${secret}`;
      const faults = urlFaults(forms(user, password)[which] ?? '');
      expect(faults).not.toEqual([]);
      expect(faults.join('\n')).not.toContain(password);
    }),
  );
});
