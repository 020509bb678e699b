/** Where a Redis is. An address may carry a password: only `describeAddress` may be shown to anybody. */
import { isAbsolute } from 'node:path';
import { InvalidInput } from '../errors.ts';
import {
  type ClusterAddress,
  describeSeveral,
  namesSeveral,
  parseSeveral,
  type SentinelAddress,
} from './address-list.ts';

/** `path` is a unix socket. */
export type RedisAddress = { readonly url: string } | { readonly path: string } | SentinelAddress | ClusterAddress;

const FORMS = 'write it as redis://[user:password@]host[:port][/db], rediss://... for TLS, or unix:///path/to/socket';
const LIST_FORMS =
  'write it as redis+sentinel://[user:password@]host[:port],.../NAME[/db] or redis+cluster://[user:password@]host[:port],... (rediss+ for TLS)';

/**
 * Reads a `redis://`, `rediss://` or `unix://` URL, or one that names Sentinels or the nodes of a Cluster. Throws `InvalidInput` naming `where`; the message never quotes
 * the value, because a URL that does not parse may still hold a password.
 */
export function parseRedisUrl(value: string, where = 'REDIS_URL'): RedisAddress {
  if (namesSeveral(value)) {
    const address = parseSeveral(value);
    if ('fault' in address) throw new InvalidInput([{ where, what: `${address.fault}: ${LIST_FORMS}` }]);
    return address;
  }
  const url = URL.canParse(value) ? new URL(value) : refuse(where, 'is not a URL');
  const path = decoded(url.pathname);
  if (decoded(url.username) === null || decoded(url.password) === null || path === null) {
    return refuse(where, 'has a "%" that is not followed by two hexadecimal digits');
  }
  switch (url.protocol) {
    case 'redis:':
    case 'rediss:':
      if (url.hostname === '') return refuse(where, 'names no host');
      if (!/^\/?\d*$/.test(path)) return refuse(where, 'names a database that is not a number');
      return { url: value };
    case 'unix:':
      if (url.host !== '' || url.username !== '' || url.search !== '') {
        return refuse(where, 'has more than a path, which a unix socket cannot use');
      }
      if (!isAbsolute(path) || path === '/') return refuse(where, 'names no absolute path');
      return { path };
    default:
      return refuse(where, 'has a scheme other than redis, rediss and unix');
  }
}

/** The address for people and logs: the password masked, query options left out. */
export function describeAddress(address: RedisAddress): string {
  if ('path' in address) return `unix://${address.path}`;
  if (!('url' in address)) return describeSeveral(address);
  if (!URL.canParse(address.url)) return 'redis://(not a URL)';
  const { protocol, username, password, host, pathname } = new URL(address.url);
  const credentials = username === '' && password === '' ? '' : `${username}${password === '' ? '' : ':***'}@`;
  return `${protocol}//${credentials}${host}${pathname === '/' ? '' : pathname}`;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function refuse(where: string, what: string): never {
  throw new InvalidInput([{ where, what: `${what}: ${FORMS}` }]);
}
