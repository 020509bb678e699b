import { describe, expect, test } from 'vitest';
import { CleanupStack } from '../../src/os/cleanup.ts';

const never = new Promise<never>(() => undefined);

describe('the undo stack', () => {
  test('runs every step once, the last first, one after the other', async () => {
    const stack = new CleanupStack();
    const did: string[] = [];
    for (const name of ['port', 'folder', 'server']) {
      stack.add(name, async () => {
        did.push(`${name} begins`);
        await new Promise(setImmediate);
        did.push(`${name} ends`);
      });
    }
    expect(await stack.run()).toEqual([]);
    expect(await stack.run()).toEqual([]);
    expect(did).toEqual([
      ...['server begins', 'server ends', 'folder begins', 'folder ends', 'port begins', 'port ends'],
    ]);
  });

  test('runs all though some throw, reject or hang, and names these', async () => {
    const stack = new CleanupStack();
    const did: string[] = [];
    stack.add('first', () => did.push('first'));
    stack.add('throws', () => {
      throw new Error('at once');
    });
    stack.add('rejects', () => Promise.reject('later'));
    stack.add('hangs', () => never);
    stack.add('last', () => did.push('last'));
    expect(await stack.run(50)).toEqual([
      { step: 'hangs', message: 'not done after 50 ms' },
      { step: 'rejects', message: 'later' },
      { step: 'throws', message: 'at once' },
    ]);
    expect(did).toEqual(['last', 'first']);
  });

  test('begins what may run beside the others with the first of them, and waits for it in its place', async () => {
    const stack = new CleanupStack();
    const did: string[] = [];
    let end: () => void = () => undefined;
    const pinIsGone = new Promise<void>(resolve => {
      end = resolve;
    });
    stack.add('folder', faults => did.push(`folder, after ${faults.map(({ step }) => step)}`));
    const unpin = async () => {
      did.push('pin begins');
      await pinIsGone;
      throw new Error('it is locked');
    };
    stack.add('pin', unpin, 'beside');
    stack.add('server', async () => {
      did.push('server begins');
      await new Promise(setImmediate);
      did.push('server ends');
      setImmediate(end);
    });
    expect(await stack.run()).toEqual([{ step: 'pin', message: 'it is locked' }]);
    expect(did).toEqual(['pin begins', 'server begins', 'server ends', 'folder, after pin']);
    expect(await stack.run()).toEqual([]);
  });

  test('tells each step what has gone wrong before it', async () => {
    const stack = new CleanupStack();
    const told: string[][] = [];
    const hears = (faults: readonly { step: string }[]) => told.push(faults.map(({ step }) => step));
    stack.add('folder', hears);
    stack.add('server', () => Promise.reject(new Error('it lives')));
    stack.add('hangs', () => never);
    stack.add('first', hears);
    await stack.run(50);
    stack.add('later', hears);
    await stack.run();
    expect(told).toEqual([[], ['hangs', 'server'], ['hangs', 'server']]);
  });

  test('a step that fails after its time is up fails nothing else', async () => {
    const stack = new CleanupStack();
    const fails: ((error: Error) => void)[] = [];
    stack.add('late', () => new Promise((_, reject) => fails.push(reject)));
    expect(await stack.run(10)).toEqual([{ step: 'late', message: 'not done after 10 ms' }]);
    for (const fail of fails) fail(new Error('nobody listens any more'));
    expect(fails).toHaveLength(1);
    await new Promise(setImmediate);
    expect(await stack.run()).toEqual([]);
  });

  test('two runs at once keep the order: the second waits for the first', async () => {
    const stack = new CleanupStack();
    const did: string[] = [];
    stack.add('folder', () => did.push('folder removed'));
    stack.add('server', async () => {
      await new Promise(resolve => setTimeout(resolve, 20));
      did.push('server gone');
    });
    const both = [stack.run(), stack.run().then(faults => did.push('second is back') && faults)];
    expect(await Promise.all(both)).toEqual([[], []]);
    expect(did).toEqual(['server gone', 'folder removed', 'second is back']);
  });

  test('what is added after a run belongs to the next', async () => {
    const stack = new CleanupStack();
    const did: string[] = [];
    stack.add('one', () => {
      did.push('one');
      stack.add('from within', () => did.push('from within'));
    });
    await stack.run();
    expect(did).toEqual(['one', 'from within']);
    stack.add('two', () => did.push('two'));
    await stack.run();
    expect(did).toEqual(['one', 'from within', 'two']);
  });
});
