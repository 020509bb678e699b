/** The sample repository's files: a few small functions and their tests, without a dependency. */

type Files = Readonly<Record<string, string>>;

/** The first commit: the functions. */
export const FUNCTIONS: Files = {
  'package.json': `{
  "name": "small-change",
  "version": "1.0.0",
  "description": "Small functions for words, numbers, lists and prices",
  "private": true,
  "type": "module",
  "scripts": {
    "test": "node --test"
  }
}
`,
  '.gitignore': 'node_modules/\n',
  'README.md': `# small-change

Small functions for words, numbers, lists and prices.

## Tests

    npm test
`,
  'src/words.js': `/** The text with its first letter in upper case. */
export function capitalize(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** How many words the text has. */
export function countWords(text) {
  return text.split(/\\s+/).filter(word => word !== '').length;
}
`,
  'src/numbers.js': `/** The sum of the numbers; 0 for none. */
export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

/** The arithmetic mean; NaN for no numbers. */
export function mean(numbers) {
  return sum(numbers) / numbers.length;
}
`,
  'src/list.js': `/** The items as a person would list them: "a, b and c". */
export function joinList(items) {
  if (items.length < 2) return items.join('');
  return \`\${items.slice(0, -1).join(', ')} and \${items.at(-1)}\`;
}
`,
  'src/prices.js': `import { joinList } from './list.js';

/** An amount of cents as a price: 1999 -> "19.99". */
export function formatPrice(cents) {
  return (cents / 100).toFixed(2);
}

/** Prices in one sentence. */
export function listPrices(amounts) {
  return joinList(amounts.map(formatPrice));
}
`,
};

/** The second commit: the tests. */
export const TESTS: Files = {
  'test/words.test.js': testFile(
    '../src/words.js',
    ['capitalize', 'countWords'],
    [
      ['capitalizes the first letter', "assert.equal(capitalize('hello you'), 'Hello you');"],
      ['counts words and not spaces', "assert.equal(countWords('  one  two '), 2);"],
    ],
  ),
  'test/numbers.test.js': testFile(
    '../src/numbers.js',
    ['mean', 'sum'],
    [
      ['adds up', 'assert.equal(sum([1, 2, 3]), 6);'],
      ['finds the mean', 'assert.equal(mean([1, 2, 6]), 3);'],
    ],
  ),
  'test/list.test.js': testFile(
    '../src/list.js',
    ['joinList'],
    [
      ['lists items as a person would', "assert.equal(joinList(['a', 'b', 'c']), 'a, b and c');"],
      ['leaves a single item alone', "assert.equal(joinList(['a']), 'a');"],
    ],
  ),
  'test/prices.test.js': testFile(
    '../src/prices.js',
    ['formatPrice', 'listPrices'],
    [
      ['writes cents with two digits', "assert.equal(formatPrice(1990), '19.90');"],
      ['lists prices', "assert.equal(listPrices([100, 250]), '1.00 and 2.50');"],
    ],
  ),
};

/** A test file for Node's own test runner; `cases` are names and bodies. */
export function testFile(from: string, names: string[], cases: [name: string, body: string][]): string {
  const tests = cases.map(([name, body]) => `test('${name}', () => {\n  ${body}\n});\n`);
  return `import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ${names.join(', ')} } from '${from}';

${tests.join('\n')}`;
}
