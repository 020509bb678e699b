/** What browsers are told about every answer. */

const PAGES = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"],
  ...["form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"],
].join('; ');

/** Bull Board sets styles from its script, and has pictures in its style sheet. */
const BULL_BOARD = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:"],
  ...["font-src 'self' data:", "connect-src 'self'", "manifest-src 'self'", "form-action 'self'"],
  ...["base-uri 'self'", "frame-ancestors 'none'"],
].join('; ');

/** Of files that agents wrote: should a browser ever take one for a page, it may do nothing. */
const FILES = "default-src 'none'; sandbox; frame-ancestors 'none'";

export function headersFor(path: string): Record<string, string> {
  const isBullBoard = path === '/queues' || path.startsWith('/queues/');
  return {
    'Content-Security-Policy': isBullBoard ? BULL_BOARD : path.includes('/files/') ? FILES : PAGES,
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-store',
  };
}
