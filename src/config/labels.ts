/** Labels: words by which tasks ask for workers that have what they need (`gpu`, `eu`). */
import { z } from 'zod';

/** Of one task, and of one worker. */
export const LABELS_MAX = 20;

/** Sorted and each once, so that equal sets are equal lists. */
export const labelList = z
  .array(
    z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
        'must be a list of labels, each of letters, digits, ".", "_" and "-", 63 characters at most',
      ),
  )
  .max(LABELS_MAX, `may name at most ${LABELS_MAX} labels`)
  .transform(names => [...new Set(names)].sort());

/** As flags and environment write them too: `gpu,eu`. */
export const labelSetting = z.preprocess(value => {
  if (typeof value !== 'string') return value;
  const names = value.split(',').map(name => name.trim());
  return names.filter(name => name !== '');
}, labelList);

/** Which of the labels that are asked for are not among those there are. */
export function lackingLabels(asked: readonly string[] = [], there: readonly string[] = []): string[] {
  return asked.filter(label => !there.includes(label));
}
