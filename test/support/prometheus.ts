/**
 * A strict reader of Prometheus's text format (version 0.0.4): whatever the format does not allow is an error, and so
 * is what a server would only swallow, such as a series that stands twice or a histogram that does not add up.
 */

export interface Family {
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  help: string;
  samples: { name: string; labels: Record<string, string>; value: number }[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\n"])*"';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)?\\})? (\\S+)$`);

/** The metrics by name. Throws an `Error` that names the line. */
export function readPrometheus(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let name = '';
  let help = '';
  let family: Family | null = null;
  for (const [at, line] of text.split('\n').slice(0, -1).entries()) {
    const fail = (what: string) => new Error(`line ${at + 1}: ${what}: ${line}`);
    if (line === '') continue;
    const comment = new RegExp(`^# (HELP|TYPE) (${NAME}) (.*)$`).exec(line);
    if (line.startsWith('#')) {
      if (comment === null) throw fail('neither HELP nor TYPE');
      const [, kind, of = '', rest = ''] = comment;
      if (kind === 'HELP') {
        if (families.has(of)) throw fail('this metric was there before');
        [name, help, family] = [of, rest, null];
      } else {
        if (of !== name || family !== null) throw fail('TYPE without HELP before it');
        if (!/^(counter|gauge|histogram|summary)$/.test(rest)) throw fail('no type');
        family = { type: rest as Family['type'], help, samples: [] };
        families.set(of, family);
      }
      continue;
    }
    const [, sample = '', labelText = '', number = ''] = SAMPLE.exec(line) ?? [];
    if (sample === '') throw fail('no sample');
    if (family === null || !belongs(sample, name, family.type)) throw fail(`does not belong to ${name}`);
    if (!/^[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|Inf)$|^NaN$/.test(number)) throw fail('no number');
    const series = line.slice(0, line.lastIndexOf(' '));
    if (seen.has(series)) throw fail('this series was there before');
    seen.add(series);
    const value = Number(number.replace('Inf', 'Infinity'));
    if (family.type === 'counter' && !(value >= 0)) throw fail('a counter below 0');
    family.samples.push({ name: sample, labels: labelsIn(labelText), value });
  }
  for (const [of, one] of families) if (one.type === 'histogram') checkHistogram(of, one);
  return families;
}

function belongs(sample: string, name: string, type: Family['type']): boolean {
  if (type === 'histogram') return [`${name}_bucket`, `${name}_sum`, `${name}_count`].includes(sample);
  if (type === 'summary') return [name, `${name}_sum`, `${name}_count`].includes(sample);
  return sample === name;
}

function labelsIn(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name = '', value = ''] of text.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    if (name in labels) throw new Error(`label ${name} stands twice: ${text}`);
    labels[name] = value.replace(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped));
  }
  return labels;
}

function checkHistogram(name: string, { samples }: Family): void {
  const groups = new Map<string, Family['samples']>();
  for (const sample of samples) {
    const { le: _, ...others } = sample.labels;
    const key = JSON.stringify(Object.entries(others).sort());
    groups.set(key, [...(groups.get(key) ?? []), sample]);
  }
  for (const [key, group] of groups) {
    const buckets = group.filter(one => one.name === `${name}_bucket`);
    const ends = buckets.map(({ labels }) => Number((labels.le ?? '').replace('Inf', 'Infinity')));
    const counts = buckets.map(({ value }) => value);
    const rises = (values: number[], strictly: boolean) =>
      values.every(
        (value, at) => at === 0 || (strictly ? value > Number(values[at - 1]) : value >= Number(values[at - 1])),
      );
    const of = (suffix: string) => group.find(one => one.name === `${name}_${suffix}`)?.value;
    if (!rises(ends, true) || !rises(counts, false)) throw new Error(`${name} ${key}: its buckets do not rise`);
    if (ends.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`${name} ${key}: no bucket holds all`);
    if (counts.at(-1) !== of('count')) throw new Error(`${name} ${key}: the count is not that of the last bucket`);
    if (of('sum') === undefined) throw new Error(`${name} ${key}: no sum`);
  }
}
