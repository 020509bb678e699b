/** Quotes what a provider says: its words go into logs, results and Redis, and some repeat the key they refuse. */

const MAX_QUOTE = 300;
/** More than this is never looked at; a hostile answer may be long. */
const MAX_READ = 4_000;

/** The words on one line, without what looks like a key, at most 300 characters. */
export function quoted(said: string): string {
  // A token that is cut through could pass for something shorter, so it goes too.
  const read = said.length > MAX_READ ? said.slice(0, MAX_READ).replace(/\S+$/, '…') : said;
  const line = withoutKeys(read)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line.length > MAX_QUOTE ? `${line.slice(0, MAX_QUOTE - 1)}…` : line;
}

const MASK = '[masked]';
/** What stands behind a word that announces a secret; behind a key or token a plain word is no secret. */
const PASSWORD = /\b(password|secret)(["']?\s*[:=]\s*["']?)[^\s"',;&]+/gi;
const KEY = /\b(key|token|authorization)(["']?\s*[:=]\s*["']?)(?=[^\s"',;&]*\d|[^\s"',;&]{16})[^\s"',;&]{6,}/gi;
const SCHEME = /\b(Bearer|Basic)\s+[^\s"',;]{6,}/gi;
const USER_OF_ADDRESS = /:\/\/[^\s/@]+@/g;

/** The text with everything masked that looks like a key: what is announced as one, known prefixes, long tokens. */
export function withoutKeys(text: string): string {
  return text
    .replace(SCHEME, `$1 ${MASK}`)
    .replace(PASSWORD, `$1$2${MASK}`)
    .replace(KEY, `$1$2${MASK}`)
    .replace(USER_OF_ADDRESS, `://${MASK}@`)
    .replace(/[\w*+/=-]{8,}/g, token => (looksLikeKey(token) ? MASK : token));
}

/** How providers begin their keys; one that a provider has half hidden with asterisks is a key too. */
const KNOWN_PREFIX =
  /(^|[/=])((sk|pk|rk|gsk|xai|hf|r8|nvapi|gh[pousr]|github_pat|glpat|xox[a-z])[-_][\w*-]{5,}|AIza|AKIA)/;

/** Names of models, dates and words are shorter than a key, or are broken by hyphens into shorter pieces. */
function looksLikeKey(token: string): boolean {
  if (KNOWN_PREFIX.test(token)) return true;
  const pieces = token.match(/[A-Za-z\d]{20,}/g) ?? [];
  if (pieces.some(piece => piece.length >= 32 || (/[A-Za-z]/.test(piece) && /\d/.test(piece)))) return true;
  return token.length >= 40 && /\d/.test(token) && /[a-z]/.test(token) && /[A-Z]/.test(token);
}
