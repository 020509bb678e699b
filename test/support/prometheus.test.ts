/** A reader that takes everything would make tests that cannot fail. */
import { expect, test } from 'vitest';
import { readPrometheus } from './prometheus.ts';

const HEAD = '# HELP a What it is\n# TYPE a';

test('a text that keeps to the format is read', () => {
  const text = [
    '# HELP a Of a',
    '# TYPE a gauge',
    'a{x="1",y="say \\"hi\\"\\\\\\n"} 1.5e-7',
    'a 2',
    '',
    '# HELP h Of h',
    '# TYPE h histogram',
    'h_bucket{le="0.5"} 1',
    'h_bucket{le="+Inf"} 3',
    'h_sum 7',
    'h_count 3',
    '',
  ].join('\n');
  const read = readPrometheus(text);
  expect(read.get('a')?.samples).toEqual([
    { name: 'a', labels: { x: '1', y: 'say "hi"\\\n' }, value: 1.5e-7 },
    { name: 'a', labels: {}, value: 2 },
  ]);
  expect(read.get('h')?.samples).toHaveLength(4);
});

test.each([
  ['no end of line', `${HEAD} gauge\na 1`],
  ['no type', 'a 1\n'],
  ['an unknown type', `${HEAD} number\na 1\n`],
  ['a metric twice', `${HEAD} gauge\na 1\n${HEAD} gauge\n`],
  ['a series twice', `${HEAD} gauge\na{x="1"} 1\na{x="1"} 2\n`],
  ['a label twice', `${HEAD} gauge\na{x="1",x="2"} 1\n`],
  ['a sample of another metric', `${HEAD} gauge\nb 1\n`],
  ['a label without quotes', `${HEAD} gauge\na{x=1} 1\n`],
  ['a line break in a label', `${HEAD} gauge\na{x="1\n2"} 1\n`],
  ['a quote in a label', `${HEAD} gauge\na{x="1"2"} 1\n`],
  ['no number', `${HEAD} gauge\na undefined\n`],
  ['two blanks', `${HEAD} gauge\na  1\n`],
  ['a counter below 0', `${HEAD} counter\na -1\n`],
  ['buckets that do not rise', `${HEAD} histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n`],
  [
    'ends that do not rise',
    `${HEAD} histogram\na_bucket{le="2"} 0\na_bucket{le="1"} 0\na_bucket{le="+Inf"} 0\na_sum 1\na_count 0\n`,
  ],
  ['no last bucket', `${HEAD} histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n`],
  ['another count', `${HEAD} histogram\na_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n`],
  ['no sum', `${HEAD} histogram\na_bucket{le="+Inf"} 1\na_count 1\n`],
])('%s is refused', (_, text) => {
  expect(() => readPrometheus(text)).toThrow();
});
