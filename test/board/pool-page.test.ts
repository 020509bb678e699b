/** The parts of the live page, made of facts as the view tells them. */
import { describe, expect, test } from 'vitest';
import { hoursPart } from '../../src/board/pages/hours.ts';
import { poolPage, poolParts } from '../../src/board/pages/pool-page.ts';
import type { CellFacts, EndedFacts, HourFacts, PoolFacts } from '../../src/board/view/facts.ts';
import { resultOf } from '../support/jobs.ts';

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 26, 12, 30);

const NO_LANDINGS: PoolFacts['landings'] = {
  queue: { name: 'landing', paused: false, waiting: 0, running: 0, delayed: 0, completed: 0, failed: 0 },
  ...{ targets: [], underWay: [], ended: [] },
};

function pool(given: Partial<PoolFacts> = {}): PoolFacts {
  const empty = { landings: NO_LANDINGS, queues: [], workers: [], cells: [], cooldowns: [], hours: [], latest: [] };
  return { at: NOW, prefix: 'cellpool', ...empty, ...given };
}

function cell(given: Partial<CellFacts> = {}): CellFacts {
  return {
    ...{ cellId: 'a.0123abcd', host: 'build-7', workerId: 'w', taskId: 'a', title: null, repository: '/repo' },
    ...{ attempt: 1, stage: 'execute', startedAt: NOW - 65_000, tokensUsed: 12_345, tokenBudget: 50_000 },
    ...{ model: null, memoryBytes: 340 * 1024 * 1024, port: 9_000, isolation: 'strict' },
    ...{ lastSignAt: NOW, abandoned: false },
    ...given,
  } as CellFacts;
}

const hours = (of: (index: number) => Partial<HourFacts>): HourFacts[] =>
  Array.from({ length: 24 }, (_, index) => ({
    ...{ from: NOW - (NOW % HOUR) - (23 - index) * HOUR, outcomes: {}, tokens: 0, costUsd: 0 },
    ...of(index),
  }));

describe('the same facts', () => {
  const facts = pool({
    cells: [cell()],
    cooldowns: [{ name: 'acme', kind: 'busy', reason: '429', until: NOW + 9_000 }],
  });

  test('give the same text whenever it is made, so that nothing is told to listeners that has not changed', () => {
    const texts = (at: number) => Object.values(poolParts({ ...facts, at })).map(String);
    expect(texts(NOW)).toEqual(texts(NOW + 10_000));
  });

  test('are told with the time that has passed on the page itself', () => {
    const page = poolPage(facts, NOW, null);
    expect(page).toContain(`data-elapsed="${NOW - 65_000}">1:05<`);
    expect(page).toContain('>in 9 s<');
  });
});

describe('a cell', () => {
  const cells = (given: Partial<CellFacts>) => String(poolParts(pool({ cells: [cell(given)] })).cells);

  test('tells tokens against their budget, memory and port', () => {
    const text = cells({});
    expect(text).toMatch(/12\.3k of 50k/);
    expect(text).toMatch(/<meter min="0" max="50000" high="40000" optimum="0" value="12345"/);
    expect(text).toContain('>340 MiB<');
    expect(text).toContain('>9000<');
  });

  test('of a worker that is silent, or that could not be removed, says so', () => {
    expect(cells({})).not.toContain('no sign');
    expect(cells({ lastSignAt: NOW - 31_000 })).toContain('no sign of its worker');
    expect(cells({ lastSignAt: null })).toContain('no sign of its worker');
    expect(cells({ abandoned: true })).toContain('could not be removed');
  });

  test('is cancelled from there, once that was confirmed, unless its record names no task', () => {
    expect(cells({})).toMatch(
      /<form method="post" action="\/api\/tasks\/a\/cancel" data-confirm="Cancel a\?[^"]+">\s*<button aria-label="Cancel a">Cancel</,
    );
    expect(cells({ taskId: '../a b' })).not.toContain('<form');
  });

  test('that was made ahead says for what it is, and there is nothing to cancel', () => {
    const text = cells({ taskId: null, attempt: 0, stage: 'warm', tokenBudget: null });
    expect(text).toContain('for the next task');
    expect(text).toMatch(/stage warm[^>]*>warm</);
    expect(text).not.toContain('<form');
    expect(text).not.toContain('/tasks/');
  });

  test('in which a lander runs tests says so and of which repository, and there is nothing to cancel', () => {
    const given = { taskId: null, attempt: 0, stage: 'landing', tokenBudget: null, port: null } as const;
    const text = cells({ ...given, repository: '/srv/<b>.git' });
    expect(text).toContain('tests of what is to land in &lt;b&gt;');
    expect(text).toMatch(/stage landing[^>]*>landing</);
    expect(text).not.toContain('<form');
    expect(text).not.toContain('/tasks/');
  });

  test('without facts leaves a dash', () => {
    expect(cells({ memoryBytes: null, port: null, tokenBudget: null }).match(/>–</g)).toHaveLength(2);
  });
});

describe('a task that has ended', () => {
  const ended = (given: Partial<EndedFacts>) => {
    const facts = { taskId: 'a', title: null, repository: '/repo', endedAt: NOW, failed: true, result: null, ...given };
    return String(poolParts(pool({ latest: [facts] })).latest);
  };
  const RETRY =
    /<td role="cell" data-name="Do"><form method="post" action="\/api\/tasks\/a\/retry" data-confirm="Retry a with all its attempts\?">\s*<button aria-label="Retry a">/;

  test('is retried from there when its job failed, whatever can be read of its end', () => {
    expect(ended({ result: resultOf('a', 'reverted') })).toMatch(RETRY);
    expect(ended({})).toMatch(RETRY);
    expect(ended({})).toContain('>failed<');
  });

  test('is left alone when it ended well, or under a name that no task can have', () => {
    expect(ended({ failed: false, result: resultOf('a', 'committed') })).not.toContain('<form');
    expect(ended({ failed: false })).not.toMatch(/<form|>failed</);
    expect(ended({ taskId: '../a b' })).not.toContain('<form');
  });
});

describe('the hours', () => {
  test('are bars that add up, and a table of the hours in which something ended', () => {
    const some = hours(index =>
      index < 22 ? {} : { outcomes: { committed: 3, failed: index - 21 }, tokens: 9_000, costUsd: 0.5 },
    );
    const text = String(hoursPart(pool({ hours: some })));
    expect(text).toContain('9 attempts, 18k tokens, $1.00');
    expect(text).toContain('<title>12:00 UTC: 3 committed, 2 failed</title>');
    expect(text.match(/<tr role="row"/g)).toHaveLength(1 + 2);
    const tall = [
      ...text.matchAll(/<rect class="(?:committed|failed)" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"/g),
    ];
    expect(tall).toHaveLength(4);
    for (const [, y, height] of tall) {
      expect(Number(y)).toBeGreaterThanOrEqual(0);
      expect(Number(y) + Number(height)).toBeLessThanOrEqual(130);
    }
    // The fullest hour is as tall as the picture lets it be.
    const [last, top] = tall.slice(2);
    expect(Number(last?.[2]) + Number(top?.[2])).toBeCloseTo(98, 0);
  });

  test('without any attempt say so', () => {
    expect(String(hoursPart(pool({ hours: hours(() => ({})) })))).toContain('No attempt has ended');
  });
});
