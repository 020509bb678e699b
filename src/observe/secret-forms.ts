/** How a secret is likely to be written in an output: as it is, and as JSON, URLs and headers encode it. */

/** Shorter than this nothing is searched for: it would be found in texts that have nothing to do with it. */
export const SECRET_MIN = 8;
/** A line of a private key is a secret by itself, since tools show and cut texts by lines. */
const LINE_MIN = 16;
/** Longer ones are searched for in pieces, so that no output is kept back for long. */
const PIECE_MAX = 1_024;

/** Every byte string to search for; the secret itself first. */
export function formsOf(secret: string): Buffer[] {
  const lines = secret.split(/\r?\n/).map(line => line.trim());
  const texts = [secret, jsonForm(secret)];
  if (lines.length > 1) texts.push(...lines.filter(line => line.length >= LINE_MIN && !isFrame(line)));
  // One that is so long stands in a file of its own; it is neither part of a URL nor of a header.
  if (Buffer.byteLength(secret) <= PIECE_MAX) texts.push(...urlForms(secret), ...base64Forms(secret));
  const forms = new Set(texts.filter(text => text.length >= SECRET_MIN));
  return [...forms].flatMap(text => piecesOf(Buffer.from(text)));
}

/** `-----BEGIN PRIVATE KEY-----` tells no secret. */
const isFrame = (line: string) => /^-----.*-----$/.test(line);

const jsonForm = (secret: string) => JSON.stringify(secret).slice(1, -1);

function urlForms(secret: string): string[] {
  // Half of a pair of surrogates has no URL form.
  if (/\p{Surrogate}/u.test(secret)) return [];
  const encoded = encodeURIComponent(secret);
  const lowerCase = encoded.replace(/%[0-9A-F]{2}/g, code => code.toLowerCase());
  return [encoded, lowerCase, encoded.replaceAll('%20', '+')];
}

/**
 * In base64 a secret looks different by what stands before it, as the user name does in `Authorization: Basic`. For
 * each of the three places it can have in a group, the characters that depend on nothing else.
 */
function base64Forms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [0, 1, 2].flatMap(before => {
    const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
    const own = encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
    return [own, own.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

/** Pieces that together are the whole; none is short, so that each is a secret by itself. */
function piecesOf(bytes: Buffer): Buffer[] {
  const count = Math.ceil(bytes.length / PIECE_MAX);
  const size = Math.ceil(bytes.length / count);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
}
