/**
 * Why git could not reach a remote. Git ends with 128 whatever it was, so here its words must do; what they do not
 * tell counts as a server that does not answer, which is waited for and given up for no other reason than time.
 */

export type RemoteTrouble = 'refused' | 'unknown' | 'unreachable';

/** Of git, curl, OpenSSH and the large hosts, in the C locale. */
const REFUSED =
  /authentication failed|could not read (username|password)|terminal prompts disabled|permission denied|host key verification failed|returned error: (401|403|407)|access denied|write access .* not granted|dubious ownership|not allowed to (push|upload)/i;
const UNKNOWN =
  /repository '[^\n]*' not found|repository not found|returned error: 404|not appear to be a git repository|not a git repository|could not be found/i;

/** Judges what git wrote to stderr. */
export function troubleOf(stderr: string): RemoteTrouble {
  if (REFUSED.test(stderr)) return 'refused';
  return UNKNOWN.test(stderr) ? 'unknown' : 'unreachable';
}

/** Characters of what git said that are told. */
const SAID_MAX = 600;

/**
 * What git said, for people: without what it says to everybody, and without user and password, which a rewritten
 * address (`url.<base>.insteadOf`) may hold.
 */
export function saidOf(stderr: string): string {
  const lines = withoutCredentials(stderr)
    .split(/[\r\n]+/)
    .map(line => line.replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ').trim())
    .filter(line => line !== '' && !/^(Please make sure you have|and the repository exists|hint:)/.test(line));
  return lines.join('; ').slice(-SAID_MAX);
}

export function withoutCredentials(text: string): string {
  return text.replace(/([A-Za-z][A-Za-z0-9+.-]*:\/\/)[^\s/'"]*@/g, '$1');
}
