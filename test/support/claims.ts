/** What a text claims to have been measured, and whether a benchmark's result says so. */

/** Words that only a measurement gives a right to; limits and settings are told without them. */
const MEASURED =
  /\bon (two|\d+) cores\b|\bmeasured\b|\bp\d\d\b|\bmedian\b|\btimes as\b|\b(faster|slower)\b|\bper second\b|\btasks an? (hour|minute)\b|\d\s?ms\b/i;

/** Numbers in digits, `26,220` and `1.05` among them; not those that are part of a word, such as `p50`. */
const NUMBER = /(?<![\w.,-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w-]|[.,]\d)/g;

/** Code is no claim: commands, settings, and the output of examples. */
function proseOf(text: string): string {
  return text
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/^ {4}.*$/gm, '')
    .replace(/`[^`\n]*`/g, '');
}

/** Every number in a leaf of a result. */
function numbersIn(result: unknown): number[] {
  if (typeof result === 'number') return [result];
  return typeof result === 'object' && result !== null ? Object.values(result).flatMap(numbersIn) : [];
}

/** Sentences of `text` that claim a measurement, with those of their numbers that stand in no result. */
export function unfoundedClaims(text: string, results: readonly unknown[]): string[] {
  const measured = results.flatMap(numbersIn);
  const sentences = proseOf(text).split(/(?<=[.:;])\s+|\n\n|\n(?=[|#-])/);
  return sentences
    .filter(sentence => MEASURED.test(sentence))
    .flatMap(sentence => {
      const numbers = (sentence.match(NUMBER) ?? []).filter(number => !measured.some(value => isSaid(value, number)));
      return numbers.map(number => `${number}: ${sentence.trim()}`);
    });
}

/** A text may round. */
function isSaid(value: number, number: string): boolean {
  const digits = number.split('.')[1]?.length ?? 0;
  return value.toFixed(digits) === number.replaceAll(',', '');
}
