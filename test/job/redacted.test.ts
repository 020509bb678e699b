import { expect, test } from 'vitest';
import { redactedReturn } from '../../src/job/redacted.ts';
import { Redactor } from '../../src/observe/redact.ts';

test('of work that came back the log and the patch lose what somebody knows for a secret, and the ids stay', () => {
  const secret = 'hunter2-hunter2-hunter2';
  const ids = { commit: 'c'.repeat(40), tip: 'd'.repeat(40), target: 'main' };
  const told = { times: 1, ...ids, why: 'red', message: `sent ${secret}`, patch: `+key = '${secret}'\n` } as const;
  const redactor = new Redactor();
  redactor.add([secret, ids.commit]);
  const redacted = redactedReturn(told, redactor);
  expect(redacted).toMatchObject({ times: 1, ...ids, why: 'red' });
  expect(JSON.stringify(redacted)).not.toContain(secret);
});
