import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkedOutTargets, landingInWords, newsInWords } from '../../src/cli/landing-words.ts';
import { openSource } from '../../src/git/source.ts';
import { jobOf } from '../support/jobs.ts';
import { git, makeRepository, tempFolder } from '../support/repository.ts';

test('what happens to a finished branch is the end of a sentence that begins with its task', () => {
  expect(newsInWords({ kind: 'waits', target: 'main' })).toBe('waits for landing on main');
  const back = { kind: 'returned', target: 'main' } as const;
  expect(newsInWords({ ...back, why: 'conflict', message: 'a.txt\nb.txt\n' })).toBe(
    'came back: conflicts with main in a.txt, b.txt',
  );
  expect(newsInWords({ ...back, why: 'red', message: 'a long log' })).toBe(
    'came back: with what main holds by now its tests fail',
  );
});

test('so is what became of it', () => {
  const told = { target: 'main', commit: null, message: 'expected 3' };
  expect(landingInWords({ landing: { ...told, state: 'landed', commit: '0123456789abcdef' } })).toBe(
    'landed on main as 0123456789',
  );
  expect(landingInWords({ landing: { ...told, state: 'refused' } })).toBe('did not land on main: expected 3');
  expect(landingInWords({ landing: { ...told, state: 'waiting' } })).toBe('has not landed on main yet: expected 3');
  expect(landingInWords({})).toBe('');
});

test('it is said beforehand on which targets nothing will land, as a working copy has them', async () => {
  const repository = makeRepository(join(tempFolder('landing-words'), 'repository'));
  git(repository, 'branch', 'release');
  const source = await openSource(repository);
  const lines = (...more: Parameters<typeof jobOf>[1][]) =>
    checkedOutTargets(
      source,
      more.map((one, at) => jobOf(`a-${at}`, { test: 'true', ...one }).task),
    );
  const [line, ...others] = await lines({ land: 'merge' }, { land: 'merge', landOn: 'main' });
  expect(line).toContain(`main is checked out in ${source.path}: nothing lands on it until`);
  expect(others).toEqual([]);
  expect(await lines({}, { land: 'push' }, { land: 'merge', landOn: 'release' })).toEqual([]);
  git(repository, 'switch', '--quiet', '--detach');
  expect(await lines({ land: 'merge' })).toEqual([]);
});
