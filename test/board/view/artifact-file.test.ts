import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ARTIFACT_NAMES,
  type AttemptPlace,
  isHere,
  listArtifacts,
  locate,
  placeOf,
  placesOf,
  readArtifact,
} from '../../../src/board/view/artifact-file.ts';
import { makeArtifactFolder, writeArtifact } from '../../../src/observe/artifacts.ts';
import { temporaryFolder } from '../../redis/support.ts';

const NAME = '1-0123abcd';

/** A state folder with one attempt of the task `fix`, and a secret beside it. */
async function fresh() {
  const root = temporaryFolder();
  const home = join(root, 'state');
  const folder = await makeArtifactFolder(home, 'fix', NAME);
  const secret = join(root, 'secret');
  writeFileSync(secret, 'secret');
  const place: AttemptPlace = { home, taskId: 'fix', name: NAME };
  return { root, home, folder, secret, place };
}

const text = async (place: AttemptPlace, file: string) => (await readArtifact(place, file))?.bytes.toString() ?? null;

describe('a file of an attempt', () => {
  test('is found by the folder that its worker recorded, and read', async () => {
    const { home, folder, place } = await fresh();
    await writeArtifact(folder, 'transcript.json', { a: 1 });
    expect(placeOf(home, 'fix', folder)).toEqual(place);
    expect(await text(place, 'transcript.json')).toBe('{\n  "a": 1\n}\n');
  });

  test('is read in parts of any size, from anywhere, with its size', async () => {
    const { folder, place } = await fresh();
    writeFileSync(join(folder, 'test.log'), '0123456789');
    const part = async (from: number | 'end' | undefined, most: number) => {
      const read = await readArtifact(place, 'test.log', { ...(from === undefined ? {} : { from }), most });
      return read === null ? null : [read.bytes.toString(), read.from, read.size];
    };
    expect(await part(undefined, 4)).toEqual(['0123', 0, 10]);
    expect(await part(4, 100)).toEqual(['456789', 4, 10]);
    expect(await part('end', 3)).toEqual(['789', 7, 10]);
    expect(await part('end', 100)).toEqual(['0123456789', 0, 10]);
    expect(await part(10, 5)).toEqual(['', 10, 10]);
    expect(await part(99, 5)).toEqual(['', 10, 10]);
    appendFileSync(join(folder, 'test.log'), 'ab');
    expect(await part(10, 5)).toEqual(['ab', 10, 12]);
  });

  test('is never read as a whole when it is larger than anything that we write', async () => {
    const { folder, place } = await fresh();
    writeFileSync(join(folder, 'test.log'), '');
    truncateSync(join(folder, 'test.log'), 1_024 ** 3);
    const read = await readArtifact(place, 'test.log', { most: Number.MAX_SAFE_INTEGER });
    expect([read?.bytes.length, read?.size]).toEqual([16 * 1_024 ** 2, 1_024 ** 3]);
  });

  test('is found when the state folder itself is reached by a link', async () => {
    const { root, home, folder } = await fresh();
    writeFileSync(join(folder, 'test.log'), 'ok');
    symlinkSync(home, join(root, 'link'));
    const place = placeOf(join(root, 'link'), 'fix', join(root, 'link', 'artifacts', 'fix', NAME));
    expect(place).not.toBeNull();
    expect(await text(place as AttemptPlace, 'test.log')).toBe('ok');
  });

  test('is listed with its size, and nothing that we do not write is', async () => {
    const { folder, place } = await fresh();
    writeFileSync(join(folder, 'test.log'), '12345');
    writeFileSync(join(folder, 'hook-onFailure.log'), '1');
    for (const other of ['.env', 'notes.txt', 'test.log.0123abcd.new']) writeFileSync(join(folder, other), 'x');
    expect(await listArtifacts(place)).toEqual([
      { file: 'test.log', size: 5 },
      { file: 'hook-onFailure.log', size: 1 },
    ]);
    expect(await text(place, 'notes.txt')).toBeNull();
  });
});

describe('an attempt', () => {
  const far = '/far/artifacts/fix/1-0123abcd';

  test('is found here whichever host recorded it, when its folder lies here', async () => {
    const { home, folder, place } = await fresh();
    for (const host of [undefined, 'this', 'another']) {
      const located = await locate({ home, host: 'this' }, 'fix', { artifacts: folder, host });
      expect(located).toEqual({ kind: 'here', place });
    }
  });

  test('is gone when this host recorded it and its folder does not lie here, and else where it was recorded', async () => {
    const { home } = await fresh();
    const removed = join(home, 'artifacts', 'fix', '2-0123abcd');
    const at = (artifacts: string, host?: string) => locate({ home, host: 'this' }, 'fix', { artifacts, host });
    expect([await at(removed), await at(removed, 'this')]).toEqual([{ kind: 'gone' }, { kind: 'gone' }]);
    expect(await at(removed, 'another')).toEqual({ kind: 'elsewhere', host: 'another' });
    expect(await at(far, 'another')).toEqual({ kind: 'elsewhere', host: 'another' });
    expect([await at(far), await at('/etc', 'this')]).toEqual([
      { kind: 'elsewhere', host: null },
      { kind: 'elsewhere', host: null },
    ]);
  });
});

describe('nothing is read', () => {
  test('through a link in place of the file, the attempt, the task or all artifacts', async () => {
    for (const level of ['file', 'attempt', 'task', 'artifacts'] as const) {
      const { root, home, folder, secret, place } = await fresh();
      writeFileSync(join(folder, 'test.log'), 'mine');
      const victim = {
        file: join(folder, 'test.log'),
        attempt: folder,
        task: dirname(folder),
        artifacts: join(home, 'artifacts'),
      }[level];
      // What the link leads to has all the right names.
      const moved = join(root, 'moved');
      renameSync(victim, moved);
      if (level === 'file') symlinkSync(secret, victim);
      else symlinkSync(moved, victim);
      expect([level, await text(place, 'test.log')]).toEqual([level, null]);
    }
  });

  test('of a pipe, which nobody would ever write to, or of a folder', async () => {
    const { folder, place } = await fresh();
    execFileSync('mkfifo', [join(folder, 'test.log')]);
    mkdirSync(join(folder, 'server.log'));
    expect(await text(place, 'test.log')).toBeNull();
    expect(await text(place, 'server.log')).toBeNull();
    expect(await listArtifacts(place)).toEqual([]);
  });

  test('where nothing is', async () => {
    const { home, place } = await fresh();
    expect(await text(place, 'test.log')).toBeNull();
    expect(await text({ ...place, name: '2-0123abcd' }, 'test.log')).toBeNull();
    expect(await text({ ...place, home: join(home, 'no') }, 'test.log')).toBeNull();
    expect(await isHere(place)).toBe(true);
    expect(await isHere({ ...place, name: '2-0123abcd' })).toBe(false);
  });

  test('of a folder that is recorded outside of the state folder, or in another shape', async () => {
    const { home, folder } = await fresh();
    const recorded = [
      ...['', '/', '/etc', home, join(home, 'artifacts'), dirname(folder), `${folder}/`, `${folder}/.`, `/x${folder}`],
      ...[
        join(home, 'artifacts', 'other', NAME),
        join(home, 'cells', 'fix', NAME),
        `${home}/../state/artifacts/fix/${NAME}`,
      ],
      ...[join(dirname(folder), '..'), join(dirname(folder), '1-0123ABCD'), join(dirname(folder), 'x'), `${folder}\0`],
    ];
    for (const one of recorded) expect([one, placeOf(home, 'fix', one)]).toEqual([one, null]);
    for (const id of ['..', '.', '', '../fix', 'a/b', 'fix/..']) expect(placeOf(home, id, folder)).toBeNull();
  });
});

test('the attempts that left something are known by their folders, the latest one last', async () => {
  const { home, folder } = await fresh();
  for (const [name, at] of [
    ['1-00000002', 200],
    ['2-00000001', 300],
    ['1-00000003', 100],
  ] as const) {
    utimesSync(await makeArtifactFolder(home, 'fix', name), at, at);
  }
  rmSync(folder, { recursive: true });
  for (const other of ['x', '1-zzzzzzzz', '.hidden']) mkdirSync(join(dirname(folder), other));
  const names = (await placesOf(home, 'fix')).map(({ name }) => name);
  expect(names).toEqual(['1-00000003', '1-00000002', '2-00000001']);
  expect(await placesOf(home, 'nobody')).toEqual([]);
  expect(await placesOf(home, '..')).toEqual([]);
});

describe('of any place and any name', () => {
  let home: string;
  let root: string;
  beforeAll(() => {
    root = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
    home = join(root, 'state');
    mkdirSync(join(home, 'artifacts', 'fix', NAME), { recursive: true });
    writeFileSync(join(home, 'artifacts', 'fix', NAME, 'test.log'), 'the only one');
    // Where a path that climbs out would end.
    for (const folder of [root, home, join(home, 'artifacts'), join(home, 'artifacts', 'fix')]) {
      writeFileSync(join(folder, 'test.log'), 'outside');
    }
  });
  afterAll(() => rmSync(root, { recursive: true }));

  const odd = fc.oneof(
    fc.constantFrom(
      'fix',
      NAME,
      'test.log',
      '..',
      '.',
      '',
      '/',
      'artifacts',
      '../test.log',
      `../${NAME}`,
      './test.log',
    ),
    fc.string({ maxLength: 12 }),
    fc
      .array(fc.constantFrom('..', '.', 'fix', NAME, 'test.log', '', 'artifacts'), { maxLength: 5 })
      .map(parts => parts.join('/')),
  );

  test('only the file that was meant is ever read', async () => {
    await fc.assert(
      fc.asyncProperty(odd, odd, odd, async (taskId, name, file) => {
        const read = await text({ home, taskId, name }, file);
        if (read === null) return;
        expect([taskId, name, file, read]).toEqual(['fix', NAME, 'test.log', 'the only one']);
      }),
      { numRuns: 1_000 },
    );
  });

  test('a recorded folder is believed only as the one that it would be made as', () => {
    fc.assert(
      fc.property(odd, odd, (taskId, rest) => {
        const recorded = `${home}/artifacts/${rest}`;
        const place = placeOf(home, taskId, recorded);
        if (place === null) return;
        expect(normalize(recorded)).toBe(recorded);
        expect(recorded).toBe([home, 'artifacts', place.taskId, place.name].join(sep));
      }),
      { numRuns: 1_000 },
    );
  });
});

test('the names that are read are those that attempts write, hooks included', () => {
  expect(ARTIFACT_NAMES).toEqual(
    expect.arrayContaining(['transcript.json', 'changes.diff', 'hook-beforeTeardown.log']),
  );
  for (const name of ARTIFACT_NAMES) expect(name).toMatch(/^[\w-]+\.(json|diff|log)$/i);
});
