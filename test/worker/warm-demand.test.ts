import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkAgentKind } from '../../src/cell/spawn-config.ts';
import { openQueue, type TaskQueue } from '../../src/job/queue.ts';
import { type Demand, demandOf, demandsInLine, keyOf, planOf, wantedOf } from '../../src/worker/warm-demand.ts';
import { addJob, jobOf } from '../support/jobs.ts';
import { type TestRedis, testRedis } from '../support/redis.ts';

const demand = (branch: string, repository = '/repo'): Demand => ({ repository, kind: checkAgentKind({ branch }) });
const demands = fc.array(fc.constantFrom(...['a', 'b', 'c', 'd'].map(name => demand(name))), { maxLength: 8 });

describe('what is worth making ahead', () => {
  test('is a cell for each of the next in line, and the rest for what was worked on last, in turn', () => {
    const [a, b, c] = [demand('a'), demand('b'), demand('c')];
    const sizes = (wanted: Map<string, Demand[]>) => [...wanted].map(([key, of]) => [key, of.length]);
    expect(sizes(wantedOf([a, a, b], [c], 2))).toEqual([[keyOf(a), 2]]);
    expect(sizes(wantedOf([a], [b, c], 4))).toEqual([
      [keyOf(a), 1],
      [keyOf(b), 2],
      [keyOf(c), 1],
    ]);
    expect(sizes(wantedOf([], [], 3))).toEqual([]);
  });

  test('is never more than may be kept, and nothing is asked for and given up at once', () => {
    fc.assert(
      fc.property(demands, demands, demands, fc.integer({ min: 0, max: 6 }), (line, last, there, count) => {
        const ready = there.map(one => ({ key: keyOf(one) }));
        const wanted = wantedOf(line, last, count);
        const { surplus, missing } = planOf(wanted, ready);
        const all = [...wanted.values()].flat();
        expect(all.length).toBeLessThanOrEqual(count);
        // What stays and what is made is what is wanted, no more and no less.
        const kept = ready.filter(one => !surplus.includes(one)).map(({ key }) => key);
        expect([...kept, ...missing.map(keyOf)].sort()).toEqual(all.map(keyOf).sort());
        const gone = new Set(surplus.map(({ key }) => key));
        expect(missing.filter(one => gone.has(keyOf(one)))).toEqual([]);
      }),
    );
  });
});

describe('the next in line', () => {
  let server: TestRedis;
  let queue: TaskQueue;
  beforeAll(async () => {
    server = await testRedis();
    queue = openQueue(await server.connect('worker'), 'warm-demand');
  });
  afterAll(async () => {
    await queue?.close();
    await server?.close();
  });

  test('are those that will be taken first, by this worker, and that are tasks at all', async () => {
    await addJob(queue, jobOf('late', { priority: 5, base: 'late' }));
    await addJob(queue, jobOf('first', { base: 'first', model: 'a/b' }, '/one'));
    await addJob(queue, jobOf('elsewhere', { labels: ['gpu'] }));
    await queue.add('task', { nonsense: true }, { jobId: 'nonsense' });
    await addJob(queue, jobOf('second', { base: 'second' }, '/two'));
    const found = await demandsInLine(queue, [], 10);
    expect(found.map(({ repository, kind }) => [repository, kind.branch])).toEqual([
      ['/one', 'first'],
      ['/two', 'second'],
      ['/repo', 'late'],
    ]);
    expect(found[0]?.kind).toMatchObject({ model: 'a/b', python: 'auto', caches: 'cell' });
    expect((await demandsInLine(queue, ['gpu'], 2)).map(({ repository }) => repository)).toEqual(['/one', '/repo']);
  });

  test('ask for none at the branch of another task, which is nobody else’s base', () => {
    expect(demandOf(jobOf('two', { base: 'cellpool/one', dependsOn: ['one'] }))).toBeNull();
    expect(demandOf(jobOf('two', { base: 'main' }), 'cellpool/one')).toBeNull();
  });

  test('ask for the cell that their job is spawned with', () => {
    const job = jobOf('one', { base: 'next' });
    const plan = { ...job.plan, allow: [{ host: 'example.com', port: 443 }], python: 'off' as const };
    const kind = { ...checkAgentKind({ branch: 'next', python: 'off' }), allow: plan.allow, opencode: plan.opencode };
    expect(demandOf({ ...job, plan })?.kind).toEqual(kind);
    expect(demandOf({ ...job, plan }, 'main')?.kind).toEqual({ ...kind, branch: 'main' });
  });
});
