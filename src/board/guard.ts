/**
 * What is asked of a request before anything else is done with it. A browser that shows some other page must not be
 * brought to act here in its user's name, or to read the board under a name that leads to this machine by a trick.
 */
import type { Credentials } from './access.ts';
import { isLoopback } from './access.ts';

export interface RequestFacts {
  method: string;
  path: string;
  /** The headers, undefined where left out. */
  host: string | undefined;
  origin: string | undefined;
  fetchSite: string | undefined;
  fetchMode: string | undefined;
  contentType: string | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  authorization: string | undefined;
}

export interface Place {
  /** What is listened on. */
  host: string;
  port: number;
  credentials: Credentials | null;
}

export interface Refusal {
  status: 401 | 403 | 411 | 413 | 421;
  text: string;
}

/** Bytes; no request of ours or of Bull Board's has more to say. */
const BODY_MAX = 256 * 1024;

/** They tell nothing, and those who ask are machines without a password. */
const FOR_ALL: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/** Why the request is not answered; null when it is. */
export function refusalOf(request: RequestFacts, place: Place): Refusal | null {
  if (place.credentials === null) {
    // Without a password the name is what tells our own pages from one whose name was made to lead here.
    if (!isOurName(request.host, place)) return { status: 421, text: 'This board does not answer to that name.' };
  } else if (!FOR_ALL.has(request.path) && !place.credentials.accept(request.authorization)) {
    return { status: 401, text: 'This board wants to know who asks.' };
  }
  if (request.method === 'GET' || request.method === 'HEAD') {
    // A link from elsewhere may lead here; a page from elsewhere need not make us read Redis without end.
    const isForeign = request.fetchSite === 'cross-site' || request.fetchSite === 'same-site';
    if (!isForeign || request.fetchMode === 'navigate') return null;
    return { status: 403, text: 'Pages of other sites are not answered.' };
  }
  if (!isOfThisSite(request)) return { status: 403, text: 'Actions are taken from the pages of this board only.' };
  // Node itself holds a body to the length that was said.
  if (request.transferEncoding !== undefined) return { status: 411, text: 'Say how long it is.' };
  return Number(request.contentLength ?? 0) <= BODY_MAX ? null : { status: 413, text: 'That is too much.' };
}

function isOurName(header: string | undefined, { host, port }: Place): boolean {
  const [, name = '', given = '80'] = /^(.+?)(?::(\d{1,5}))?$/.exec(header?.toLowerCase() ?? '') ?? [];
  const isOurs = name === 'localhost' || name === '127.0.0.1' || name === '[::1]';
  return (isOurs || (name === host.toLowerCase() && isLoopback(name))) && Number(given) === port;
}

/**
 * Browsers say where a request comes from. Who says nothing is no browser of today; it must send JSON, which a page
 * of another site cannot make a browser do unasked.
 */
function isOfThisSite({ host, origin, fetchSite, contentType }: RequestFacts): boolean {
  if (fetchSite !== undefined && fetchSite !== 'same-origin') return false;
  // The scheme is left out: behind a proxy that speaks TLS it is another than here.
  if (origin !== undefined) return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
  return fetchSite !== undefined || /^application\/json\s*(;|$)/i.test(contentType ?? '');
}
