/** The demo's tasks: each shows one way an attempt can end. */
import type { TaskInput } from '../../job/task.ts';
import { FUNCTIONS, testFile } from './sample-files.ts';
import { type ScriptStep, script } from './script.ts';

/** Judges every task; started directly, because npm would cost more time than the tests. */
const TEST_COMMAND = 'node --test';

/** Six tasks for the repository of `makeSampleRepository`, with what the scripted model is to do in each. */
export function sampleTasks(): TaskInput[] {
  return [addSlugify(), addMedian(), checkComments(), roundPrices(), renameList(), describeFunctions()];
}

function task(
  id: string,
  title: string,
  prompt: string,
  steps: ScriptStep[],
  more: Partial<TaskInput> = {},
): TaskInput {
  return { id, title, prompt: `${prompt}\n\n${script(steps)}`, base: 'main', test: TEST_COMMAND, ...more };
}

/** Passes at once. */
function addSlugify(): TaskInput {
  const code = `/** The text as part of an address: "Hello, You!" -> "hello-you". */
export function slugify(text) {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
}
`;
  const tests = testFile(
    '../src/slugify.js',
    ['slugify'],
    [
      ['makes an address of a title', "assert.equal(slugify('Hello, You!'), 'hello-you');"],
      ['leaves no dash at the ends', "assert.equal(slugify('  (a) '), 'a');"],
    ],
  );
  return task(
    'demo-1.add-slugify',
    'Add slugify',
    'Add a function slugify(text) in src/slugify.js that turns a title into part of a web address, with tests.',
    [
      { think: 500 },
      { say: 'I write the function and its tests.' },
      { write: { 'src/slugify.js': code, 'test/slugify.test.js': tests } },
      { think: 500 },
      { run: TEST_COMMAND },
      { say: 'slugify is there and tested.' },
    ],
  );
}

/** The first attempt forgets that a list can have two middles; the second has read the test log. */
function addMedian(): TaskInput {
  const numbers = (middle: string) => `${FUNCTIONS['src/numbers.js']}
/** The middle number; the mean of the two in the middle when there are two. */
export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return ${middle};
}
`;
  const tests = testFile(
    '../src/numbers.js',
    ['median'],
    [
      ['finds the middle', 'assert.equal(median([9, 1, 5]), 5);'],
      ['takes the mean of two middles', 'assert.equal(median([4, 1, 3, 2]), 2.5);'],
    ],
  );
  return task(
    'demo-2.add-median',
    'Add median',
    'Add a function median(numbers) to src/numbers.js. Mind lists of even length. Test it in test/median.test.js.',
    [
      { think: 600 },
      { attempt: 1, write: { 'src/numbers.js': numbers('sorted[half]'), 'test/median.test.js': tests } },
      { attempt: 2, say: 'The last test log says that even lists go wrong. I take the mean of the two middles.' },
      {
        attempt: 2,
        write: {
          'src/numbers.js': numbers('sorted.length % 2 === 1 ? sorted[half] : mean([sorted[half - 1], sorted[half]])'),
          'test/median.test.js': tests,
        },
      },
      { think: 400 },
    ],
  );
}

/** Looks and finds nothing to do. */
function checkComments(): TaskInput {
  return task(
    'demo-3.check-comments',
    'Check the comments',
    'Every exported function in src/ shall have a comment that says what it returns. Add what is missing, if anything.',
    [
      { think: 600 },
      { run: "grep -B 1 -n '^export function' src/*.js" },
      { think: 400 },
      { say: 'Every exported function has its comment. There is nothing to change.' },
    ],
  );
}

/** Breaks a test in both attempts, so it ends reverted. */
function roundPrices(): TaskInput {
  const rounded =
    FUNCTIONS['src/prices.js']?.replace('(cents / 100).toFixed(2)', 'String(Math.round(cents / 100))') ?? '';
  return task(
    'demo-4.round-prices',
    'Show whole prices',
    'Our customers find the cents hard to read: let formatPrice show whole prices only, and keep all tests as they are.',
    [{ think: 700 }, { say: 'I round the price.' }, { write: { 'src/prices.js': rounded } }, { think: 300 }],
    { attempts: 2 },
  );
}

/** Renames a file and follows its imports. */
function renameList(): TaskInput {
  return task(
    'demo-5.rename-list',
    'Rename list.js to join.js',
    'Rename src/list.js and its test to join.js and join.test.js, since joining is all they do. Update every import.',
    [
      { think: 500 },
      { run: 'mv src/list.js src/join.js && mv test/list.test.js test/join.test.js' },
      { think: 300 },
      { run: "sed -i.old 's#/list.js#/join.js#' src/prices.js test/join.test.js && rm src/*.old test/*.old" },
      { think: 300 },
      { run: TEST_COMMAND },
    ],
  );
}

/** Edits prose only. */
function describeFunctions(): TaskInput {
  const section = `
## Functions

- words: \`capitalize\`, \`countWords\`
- numbers: \`sum\`, \`mean\`
- prices: \`formatPrice\`, \`listPrices\`
`;
  return task(
    'demo-6.describe-functions',
    'Describe the functions in the README',
    'The README does not say which functions there are. Add a section that lists them by topic.',
    [{ think: 700 }, { append: { 'README.md': section } }, { think: 400 }, { say: 'The README lists the functions.' }],
  );
}
