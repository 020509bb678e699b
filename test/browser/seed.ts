/** A pool that looks like one at work: cells on two hosts, tasks in every state, one with all that an attempt leaves. */
import type { Outcome, StageTime } from '../../src/job/outcome.ts';
import { CellMemory } from '../../src/redis/cell-memory.ts';
import { Cooldowns } from '../../src/redis/cooldown.ts';
import { WorkerList } from '../../src/redis/worker-list.ts';
import { BOARD_HOST, endJob, enterCell, leaveArtifacts, type TestBoard } from '../support/board.ts';
import { addJob, jobOf, resultOf } from '../support/jobs.ts';
import type { TestRedis } from '../support/redis.ts';
import { addLanding, endLanding, fateOf, held, landingJobOf, noteTarget } from '../support/shown-landings.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

const TITLES = [
  'Refuse an empty password in the login form',
  'Round prices to whole cents in the basket',
  'Explain the cache in the handbook',
  'Sort the list of branches by their last commit',
];

const DIFF = `diff --git a/src/login.ts b/src/login.ts
index 3b18e51..8f1a2c9 100644
--- a/src/login.ts
+++ b/src/login.ts
@@ -12,7 +12,10 @@ export function login(form: Form): Result {
   const { user, password } = form;
-  if (user === '') return refuse('user');
+  if (user.trim() === '') return refuse('user');
+  if (password === '') {
+    return refuse('password');
+  }
   return check(user, password);
 }
`;

const TRANSCRIPT = {
  sessionId: 'ses_1',
  model: 'acme/large',
  messages: [
    {
      info: { role: 'user' },
      parts: [{ type: 'text', text: 'The login form accepts an empty password. Refuse it, and test that.' }],
    },
    {
      info: { role: 'assistant' },
      parts: [
        { type: 'reasoning', text: 'I look at the form first.' },
        { type: 'text', text: 'I will look at how the form is checked.' },
        {
          type: 'tool',
          tool: 'read',
          state: {
            status: 'completed',
            input: { filePath: 'src/login.ts' },
            output: 'export function login…',
            time: { start: 0, end: 12 },
          },
        },
        {
          type: 'tool',
          tool: 'bash',
          state: {
            status: 'completed',
            input: { command: 'npm test' },
            output: 'ok 1\nok 2\n',
            time: { start: 0, end: 2_340 },
          },
        },
        { type: 'text', text: 'The form refuses an empty password now, and a test says so.' },
      ],
    },
  ],
};

function stagesAt(at: number): StageTime[] {
  return [
    { stage: 'spawn', startedAt: at, ms: 2_100 },
    { stage: 'execute', startedAt: at + 2_100, ms: 61_000 },
    { stage: 'test', startedAt: at + 63_100, ms: 14_000 },
    { stage: 'settle', startedAt: at + 77_100, ms: 900 },
    { stage: 'teardown', startedAt: at + 78_000, ms: 350 },
  ];
}

/** Two that wait on a target where nothing lands, and one of each fate. */
async function seedLandings(server: TestRedis, { landing, redis, prefix }: TestBoard): Promise<void> {
  const client = await server.connect('worker');
  const fates = [
    fateOf('landed', { batch: ['fix-login', 'sort-branches'], flaky: true }),
    fateOf('returned', { message: 'it contradicts main in src/login.ts, src/basket.ts' }),
    fateOf('refused', { why: 'red', message: 'not ok 3 - refuses blanks\n# fail 1' }),
  ];
  for (const fate of fates) await endLanding(client, prefix, landing, landingJobOf(`is-${fate.kind}`, { fate }));
  for (const id of ['explain-cache', 'round-prices']) await addLanding(landing, landingJobOf(id, { title: TITLES[1] }));
  await noteTarget(redis, prefix, {
    held: held('branch main is checked out in /repo. Switch it to another branch', true),
  });
}

export async function seed(server: TestRedis, board: TestBoard): Promise<void> {
  const { queue, redis, prefix } = board;
  const now = Date.now();
  const login = 'fix-login';
  await addJob(queue, jobOf(login, { title: TITLES[0] ?? '', prompt: 'Refuse an empty password.', test: 'npm test' }));
  const artifacts = await leaveArtifacts(board, login, {
    'changes.diff': DIFF,
    'test.log': 'ok 1 - refuses an empty password\nok 2 - refuses blanks\n# pass 2\n',
    'transcript.json': JSON.stringify(TRANSCRIPT),
    'server.log': 'listening\n',
  });
  await endJob(server, board, {
    ...resultOf(login, 'committed'),
    ...{ artifacts, host: BOARD_HOST, filesModified: ['src/login.ts', 'test/login.test.ts'] },
    ...{ tokensUsed: 31_240, costUsd: 0.42, branch: `cellpool/${login}`, commit: 'a'.repeat(40) },
    tests: { passed: true, exitCode: 0, durationMs: 13_900 },
    metrics: { spawnMs: 2_100, executionMs: 61_000, teardownMs: 350, totalMs: 78_350 },
    stages: stagesAt(now - 2 * MINUTE),
  });
  const outcomes: Outcome[] = ['reverted', 'failed', 'timed-out', 'stalled', 'over-budget', 'no-changes', 'cancelled'];
  for (const outcome of outcomes) {
    const id = `task-${outcome}`;
    await addJob(queue, jobOf(id, { title: `A task that ended ${outcome}`, attempts: 1 }));
    await endJob(server, board, {
      ...resultOf(id, outcome),
      ...{ artifacts: `/state/artifacts/${id}/1-0123abcd`, host: 'build-8', tokensUsed: 4_000 },
      tests: outcome === 'reverted' ? { passed: false, exitCode: 1, durationMs: 900 } : null,
      error: outcome === 'no-changes' ? null : { code: 'FAILED', message: `It ended ${outcome}, and here is why.` },
    });
  }
  for (let index = 0; index < 5; index += 1) await addJob(queue, jobOf(`waits-${index}`));
  await addJob(queue, jobOf('later'), 30 * MINUTE);
  const stages = ['execute', 'test', 'spawn', 'execute', 'settle', 'teardown'] as const;
  for (const [index, stage] of stages.entries()) {
    const id = `working-${index}`;
    await addJob(queue, jobOf(id, { title: TITLES[index % TITLES.length] ?? '' }));
    const job = await queue.getJob(id);
    const host = index < 4 ? 'build-7' : 'build-8';
    const { cellId } = await enterCell(board, id, {
      job: { token: 't', enqueuedAt: job?.timestamp ?? 0 },
      ...{ host, stage, attempt: 1 + (index % 3) },
      ...{ createdAt: now - index * 97 * SECOND - 5 * SECOND, port: { port: 9_000 + index, token: 't' } },
    });
    await new CellMemory(redis, { prefix }).write(host, new Map([[cellId, (260 + index * 71) * 1024 * 1024]]));
    await job?.updateProgress({
      ...{ stage, attempt: 1, cellId, host, port: 9_000 + index },
      ...{ tokensUsed: index * 9_300 + 700, startedAt: now },
    });
  }
  await seedLandings(server, board);
  for (const host of ['build-7', 'build-8']) {
    await new WorkerList(redis, { prefix }).beat({
      ...{ id: `${host}-worker`, host, pid: 4_242, startTime: '1', bootId: 'b', startedAt: now - 3 * 60 * MINUTE },
      ...{ concurrency: 8, running: host === 'build-7' ? ['working-0', 'working-1'] : ['working-4'], draining: false },
    });
  }
  await new Cooldowns(redis, { prefix }).report('acme/large', {
    kind: 'busy',
    retryAfterMs: 90_000,
    reason: '429 Too Many Requests',
  });
}
