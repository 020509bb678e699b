/** Attacks on the tracker that tasks come from. */
import { join } from 'node:path';
import { type Attack, at, prints } from './attack.ts';
import { FOLDER, TRACKER } from './worker-setup.ts';

const bd = () => join(process.env[FOLDER] ?? '', TRACKER);

export const ON_TRACKER: readonly Attack[] = [
  {
    id: 'run-bd',
    title: 'run the bd that is on the PATH of the worker',
    shell: () => `bd list || '${bd()}' list`,
    reached: prints(() => `${bd()} ran`),
    // At `process` a stand-in comes first on the PATH, and no more.
    expected: at('possible', 'refused', 'refused'),
  },
  {
    id: 'commit-beads',
    title: 'have a change of .beads committed',
    shell: ({ mark }) => `mkdir -p .beads && echo 'beads-${mark}' > .beads/issues.jsonl && git add --force .beads`,
    reached: ({ setting: { mark }, facts }) => facts.commit.includes(`beads-${mark}`),
    expected: at('contained', 'contained', 'contained'),
  },
];
