/**
 * What a task may name as its repository: a folder of the worker's host, or an address that git fetches from and
 * pushes to. Addresses come from strangers and end up in git's hands, which starts programs for some of them, so
 * what is accepted is a short list of forms and everything else is refused with a reason. No reason repeats the
 * address: it may hold a password.
 */
import { z } from 'zod';

/** Characters; no server takes a longer one. */
const URL_MAX = 2_000;
const PATH_MAX = 4_096;

/** `https://host/path`; the path may be empty here, which is a fault of its own. */
const WITH_PROTOCOL = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/]*)(.*)$/s;
/** `user@host:path`, as scp writes it. */
const LIKE_SCP = /^(?:([^/@:]*)@)?(\[[^\]/]*\]|[^/@:[\]]*):(.*)$/s;
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$/;
/** It becomes part of an argument of ssh. */
const USER = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

const NO_CREDENTIALS = 'may hold neither user nor password: git asks its credential helper for them';
const UNSAFE = 'is neither encrypted nor proven to be the right server: use https or ssh';
const PROTOCOLS = 'must begin with https://, ssh:// or file://, or be written user@host:path';

/**
 * Whether `text` is meant as an address rather than as a path: it has a colon before any slash, as git tells them
 * apart. A folder with such a name is written `./a:b`.
 */
export function isUrl(text: string): boolean {
  return /^[^/]*:/.test(text);
}

/** All that is wrong with an address, each as the end of a sentence; none when git may be given it. */
export function urlFaults(text: string): string[] {
  const faults: string[] = [];
  if (text.length > URL_MAX) faults.push(`may have at most ${URL_MAX} characters`);
  if (/[\s\p{Cc}\p{Cf}\\]|%(?:[01][0-9a-f]|7f)/iu.test(text)) {
    faults.push('may contain no spaces, backslashes or control characters, nor codes for these');
  }
  if (text.startsWith('-')) faults.push('may not begin with "-", which would make an option of it');
  // Outside of an IPv6 address: `ext::sh -c ...` is a program for git to run.
  if (text.replace(/\[[0-9A-Fa-f:.]*\]/g, '').includes('::')) {
    return [...faults, 'may not contain "::", by which git runs a helper program'];
  }
  const [, protocol, authority = '', path = ''] = WITH_PROTOCOL.exec(text) ?? [];
  return [...faults, ...(protocol === undefined ? faultsLikeScp(text) : faultsOf(protocol, authority, path))];
}

function faultsOf(protocol: string, authority: string, path: string): string[] {
  const faults = /^\/*$/.test(path) ? ['names no repository on its host'] : [];
  if (/[?#]/.test(path)) faults.push('may have no "?" and no "#"');
  switch (protocol) {
    case 'file':
      return authority === '' ? faults : [...faults, 'must have an absolute path: file:///srv/repository.git'];
    case 'ssh':
      return [...faults, ...userFaults(authority), ...hostFaults(authority.slice(authority.lastIndexOf('@') + 1))];
    case 'http':
    case 'https': {
      const host = authority.slice(authority.lastIndexOf('@') + 1);
      if (host !== authority) faults.push(NO_CREDENTIALS);
      const isPlain = protocol === 'http' && !LOOPBACK.test(host.replace(/:\d*$/, ''));
      return [...faults, ...hostFaults(host), ...(isPlain ? [`http:// ${UNSAFE}`] : [])];
    }
    case 'git':
      return [...faults, `git:// ${UNSAFE}`];
    default:
      return [...faults, PROTOCOLS];
  }
}

function userFaults(authority: string): string[] {
  const end = authority.lastIndexOf('@');
  if (end < 0) return [];
  const user = authority.slice(0, end);
  if (user.includes(':')) return ['may hold no password: ssh has its keys and its agent'];
  return USER.test(user) ? [] : ['has a user name that ssh is not given'];
}

function hostFaults(hostAndPort: string): string[] {
  const [, host = '', port] = /^(.*?)(?::(\d*))?$/s.exec(hostAndPort) ?? [];
  const number = port === undefined ? 1 : Number(port);
  const badPort = port === '' || number < 1 || number > 65_535;
  return [
    ...(HOST.test(host) ? [] : ['names no host that git may be given']),
    ...(badPort ? ['has a port that is none from 1 to 65535'] : []),
  ];
}

function faultsLikeScp(text: string): string[] {
  const [, user, host, path = ''] = LIKE_SCP.exec(text) ?? [];
  // Git looks for a protocol anywhere before `://`.
  if (host === undefined || text.includes('://')) return [PROTOCOLS];
  const faults = user === undefined || USER.test(user) ? [] : ['has a user name that ssh is not given'];
  if (!HOST.test(host)) faults.push('names no host that git may be given');
  if (/^\/*$/.test(path)) faults.push('names no repository on its host');
  if (path.startsWith('-')) faults.push('has a path that begins with "-"');
  // `user:password@host:path` reads as a path on host `user`.
  if (/^[^/]*@/.test(path)) faults.push('may hold no password: ssh has its keys and its agent');
  return faults;
}

/** All that is wrong with what a job names as its repository. */
function repositoryFaults(text: string): string[] {
  if (isUrl(text)) return urlFaults(text);
  if (!text.startsWith('/')) return ['must be an absolute path or a URL'];
  if (text.length > PATH_MAX) return [`may have at most ${PATH_MAX} characters`];
  return text.includes('\0') ? ['may not contain a NUL character'] : [];
}

export const repositorySchema = z.string().superRefine((text, context) => {
  for (const message of repositoryFaults(text)) context.addIssue({ code: 'custom', message });
});
