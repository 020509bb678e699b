/** What of a job's progress is written, and when, with a job whose writes end when the test says so. */
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Progress } from '../../src/job/outcome.ts';
import { ProgressReport } from '../../src/worker/progress-report.ts';

function setting() {
  const writes: Progress[] = [];
  let finish: (() => void)[] = [];
  const updateProgress = async (progress: unknown) => {
    writes.push(progress as Progress);
    await new Promise<void>(resolve => finish.push(resolve));
  };
  return {
    report: new ProgressReport({ updateProgress }, 'h', 1),
    writes,
    /** Ends the write that is on its way. */
    written() {
      const ended = finish;
      finish = [];
      for (const end of ended) end();
    },
    told: () => writes.map(({ stage, tokensUsed }) => `${stage} ${tokensUsed}`),
  };
}

/** Lets everything happen that waits for nothing. */
const settled = () => new Promise(resolve => setImmediate(resolve));

test('one write is on its way at a time, and the next one tells the latest of what came meanwhile', async () => {
  const { report, written, told } = setting();
  report.stage('spawn', null);
  report.stage('execute', { cellId: 'c', port: 1 });
  report.stage('test', null);
  await settled();
  expect(told()).toEqual(['spawn 0']);
  written();
  await settled();
  expect(told()).toEqual(['spawn 0', 'test 0']);
  written();
  await report.written();
  expect(told()).toHaveLength(2);
});

test.each(Array.from({ length: 10 }, (_, ticks) => ticks))(
  'a stage that comes %i ticks after the end of a write is written',
  async ticks => {
    const { report, written, told } = setting();
    report.stage('spawn', null);
    written();
    for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
    report.stage('execute', null);
    await settled();
    expect(told()).toEqual(['spawn 0', 'execute 0']);
    written();
    await report.written();
  },
);

test('tokens are written once a second, also while a write is on its way', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const { report, written, told } = setting();
  report.usage(1);
  for (let tokens = 2; tokens < 6; tokens++) {
    report.usage(tokens);
    written();
    await settled();
  }
  expect(told()).toEqual(['spawn 1']);
  vi.setSystemTime(Date.now() + 1_000);
  report.usage(6);
  report.usage(7);
  written();
  await report.written();
  expect(told()).toEqual(['spawn 1', 'spawn 6']);
});

test('a write that fails is no failure of the attempt, and the next one is made', async () => {
  const writes: string[] = [];
  const updateProgress = async (progress: unknown) => {
    writes.push((progress as Progress).stage);
    throw new Error('Redis is away');
  };
  const report = new ProgressReport({ updateProgress }, 'h', 1);
  report.stage('spawn', null);
  await report.written();
  report.stage('execute', null);
  await report.written();
  expect(writes).toEqual(['spawn', 'execute']);
});
