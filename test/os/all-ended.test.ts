import { EventEmitter, once } from 'node:events';
import { expect, test } from 'vitest';
import { allEnded } from '../../src/os/all-ended.ts';

test('the results come in the order of the work', async () => {
  expect(await allEnded([Promise.resolve(1), 'b', Promise.resolve('c')])).toEqual([1, 'b', 'c']);
});

test('the first fault is told only when all of the others have ended', async () => {
  const events: string[] = [];
  const gate = new EventEmitter();
  const slow = once(gate, 'open').then(() => events.push('ended'));
  const told = allEnded([Promise.reject(new Error('no')), slow]).catch(error => events.push(error.message));
  await new Promise(done => setImmediate(done));
  expect(events).toEqual([]);
  gate.emit('open');
  await told;
  expect(events).toEqual(['ended', 'no']);
});
