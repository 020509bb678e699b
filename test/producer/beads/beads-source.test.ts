/** A small script in place of bd: the real one does not make a bead whose id it would not take itself. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BeadsSource } from '../../../src/producer/beads/beads-source.ts';
import { tempFolder } from '../../support/repository.ts';

const SIGNAL = new AbortController().signal;

const ISSUES = ['--help', 'p-1'].map(id => ({ id, title: 'x', status: 'open' }));
const STAND_IN = `#!/bin/sh
case "$1" in
version) echo "bd version 1.3.0 (stand-in)" ;;
context) echo '{"beads_dir": "/b/.beads", "project_id": "0123456789"}' ;;
ready) echo '${JSON.stringify(ISSUES)}' ;;
*) echo "not asked for: $*" >&2; exit 1 ;;
esac
`;

test('a bead whose id bd could take for an option is offered and is faulty, and is never given to bd', async () => {
  const folder = tempFolder('bd');
  const program = join(folder, 'bd');
  writeFileSync(program, STAND_IN);
  chmodSync(program, 0o755);
  const remarks: string[] = [];
  const source = await BeadsSource.open({
    repository: folder,
    env: { PATH: process.env.PATH, BD_BIN: program },
    onRemark: remark => remarks.push(remark),
  });
  expect(await source.ready(SIGNAL)).toEqual(['--help', 'p-1']);
  await expect(source.read('--help', SIGNAL)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  expect(remarks).toEqual([]);
});
