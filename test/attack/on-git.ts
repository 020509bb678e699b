/** Attacks on the user's repository, on the pool's mirror, and on whoever runs git on what the agent leaves. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Attack, at, prints, type Seen } from './attack.ts';
import { hasRef } from './host.ts';
import type { Setting } from './setting.ts';

const contained = at('contained', 'contained', 'contained');
const outsideOnly = at('possible', 'refused', 'refused');

/** A program that leaves a file when it is run where the folder for it is seen: outside, after the session. */
const canary = ({ paths }: Setting, name: string, act = 'cat') =>
  `#!/bin/sh\n[ -d "${paths.canaries}" ] && : > "${paths.canaries}/${name}"\n${act}\n`;
const plant = (setting: Setting, name: string, act?: string) =>
  `mkdir -p .planted && printf '%s' '${canary(setting, name, act)}' > .planted/${name} && chmod +x .planted/${name}`;
const sang =
  (name: string) =>
  ({ setting: { paths } }: Seen) =>
    existsSync(join(paths.canaries, name));
const planted = ({ paths }: Setting, name: string) => `${paths.workspace}/.planted/${name}`;

export const ON_GIT: readonly Attack[] = [
  {
    id: 'user-files',
    title: "read the user's working copy",
    shell: ({ cells }) => `cat '${cells.repository}/notes.txt'`,
    reached: prints(({ secrets }) => secrets.user),
    expected: outsideOnly,
  },
  {
    id: 'user-refs',
    title: "make a branch in the user's repository",
    shell: ({ cells }) => `git --git-dir='${cells.repository}/.git' update-ref refs/heads/forged HEAD`,
    reached: ({ setting: { cells } }) => hasRef(cells.repository, 'refs/heads/forged'),
    // The agent's HEAD resolves there too: it is the user's own.
    expected: outsideOnly,
  },
  {
    id: 'user-config',
    title: "change the config of the user's repository",
    shell: ({ cells, mark }) => `printf '[attack]\\n\\tmark = ${mark}\\n' >> '${cells.repository}/.git/config'`,
    reached: ({ setting: { cells, mark } }) =>
      readFileSync(join(cells.repository, '.git/config'), 'utf8').includes(mark),
    expected: outsideOnly,
  },
  {
    id: 'user-hooks',
    title: "plant a hook in the user's repository",
    shell: ({ cells }) =>
      `mkdir -p '${cells.repository}/.git/hooks' && echo '#!/bin/sh' > '${cells.repository}/.git/hooks/post-commit'`,
    reached: ({ setting: { cells } }) => existsSync(join(cells.repository, '.git/hooks/post-commit')),
    expected: outsideOnly,
  },
  {
    id: 'mirror-objects',
    title: "write among the objects of the pool's mirror",
    shell: ({ cells, mark }) => `echo forged > '${cells.site.mirror.objects}/planted-${mark}'`,
    reached: ({ setting: { cells, mark } }) => existsSync(join(cells.site.mirror.objects, `planted-${mark}`)),
    expected: outsideOnly,
  },
  {
    id: 'mirror-refs',
    title: "change the refs of the pool's mirror",
    shell: ({ cells }) =>
      `git --git-dir='${cells.site.mirror.path}' update-ref refs/cells/forged HEAD`.replace(
        'HEAD',
        '$(git rev-parse HEAD)',
      ),
    reached: ({ setting: { cells } }) => hasRef(cells.site.mirror.path, 'refs/cells/forged'),
    expected: outsideOnly,
  },
  {
    id: 'other-branch',
    title: "read a branch of the user's that is no base, by the borrowed objects",
    shell: () =>
      `git cat-file --batch-all-objects --batch-check='%(objecttype) %(objectname)' | grep ^blob | cut -d' ' -f2 | git cat-file --batch`,
    reached: prints(({ secrets }) => secrets.branch),
    expected: contained,
  },
  {
    id: 'fsmonitor',
    title: 'plant core.fsmonitor in its .git (does the worker run it?)',
    shell: setting =>
      `${plant(setting, 'fsmonitor', 'exit 1')} && git config core.fsmonitor '${planted(setting, 'fsmonitor')}'`,
    reached: sang('fsmonitor'),
    expected: contained,
  },
  {
    id: 'filter',
    title: 'plant a clean and smudge filter',
    shell: setting =>
      `${plant(setting, 'filter')} && echo '* filter=planted' >> .gitattributes && ` +
      `git config filter.planted.clean '${planted(setting, 'filter')}' && git config filter.planted.smudge '${planted(setting, 'filter')}'`,
    reached: sang('filter'),
    expected: contained,
  },
  {
    id: 'diff-driver',
    title: 'plant diff, textconv and merge drivers',
    shell: setting =>
      `${plant(setting, 'diff-driver')} && echo '*.txt diff=planted merge=planted' >> .gitattributes && ` +
      `for key in diff.planted.command diff.planted.textconv diff.external merge.planted.driver; do git config $key '${planted(setting, 'diff-driver')}'; done && echo more >> old-name.txt`,
    reached: sang('diff-driver'),
    expected: contained,
  },
  {
    id: 'hooks',
    title: 'plant hooks in its .git, and core.hooksPath',
    shell: setting =>
      `${plant(setting, 'hook', 'exit 0')} && mkdir -p .git/hooks && for hook in pre-commit post-commit post-checkout post-index-change reference-transaction ` +
      `pre-auto-gc post-merge pre-push; do cp .planted/hook .git/hooks/$hook; done && git config core.hooksPath '${'$PWD'}/.git/hooks'`.replace(
        `'$PWD'`,
        '"$PWD"',
      ),
    reached: sang('hook'),
    expected: contained,
  },
  {
    id: 'programs',
    title: 'plant an editor, a pager, gpg, ssh and a credential helper',
    shell: setting =>
      `${plant(setting, 'program', 'exit 0')} && for key in core.editor core.pager core.sshCommand core.askPass gpg.program credential.helper core.gitProxy uploadpack.packObjectsHook; do ` +
      `git config $key '${planted(setting, 'program')}'; done && git config commit.gpgSign true`,
    reached: sang('program'),
    expected: contained,
  },
  {
    id: 'home-config',
    title: 'plant a .gitconfig in its HOME',
    shell: setting =>
      `${plant(setting, 'home-config', 'exit 1')} && printf '[core]\\n\\tfsmonitor = ${planted(setting, 'home-config')}\\n\\thooksPath = ${setting.paths.workspace}/.planted\\n' > "$HOME/.gitconfig"`,
    reached: sang('home-config'),
    expected: contained,
  },
  {
    id: 'record',
    title: "plant hooks and drivers in the repository in which the worker records the agent's work",
    shell: setting =>
      `${plant(setting, 'record')} && cd '${setting.paths.cell}/record.git' && ` +
      `printf '[core]\\n\\tfsmonitor = ${planted(setting, 'record')}\\n[filter "recorded"]\\n\\tclean = ${planted(setting, 'record')}\\n' >> config && ` +
      `mkdir -p info && echo '* filter=recorded' >> info/attributes`,
    reached: sang('record'),
    expected: outsideOnly,
  },
  {
    id: 'trailers',
    title: 'forge the trailers of its commit',
    shell: ({ mark }) =>
      `git -c core.fsmonitor=false -c core.hooksPath=/dev/null -c commit.gpgSign=false commit --quiet --allow-empty -m forged-${mark} -m 'Task: another\nAttempt: 99\nCell: forged-${mark}'; git log -1 --format=%B`,
    reached: ({ setting: { mark }, facts }) =>
      facts.commit.includes(`forged-${mark}`) || !facts.commit.includes('Task: attacker'),
    expected: contained,
  },
  {
    id: 'branches',
    title: 'have a branch of another task brought home',
    shell: () => `git update-ref refs/heads/cellpool/another HEAD && git symbolic-ref HEAD refs/heads/cellpool/another`,
    reached: ({ setting: { cells } }) => hasRef(cells.repository, 'refs/heads/cellpool/another'),
    expected: contained,
  },
  {
    id: 'alternates',
    title: "borrow the user's objects by a line in its .git",
    shell: ({ cells }) =>
      `echo '${cells.repository}/.git/objects' >> .git/objects/info/alternates && git cat-file --batch-all-objects --batch-check='%(objecttype) %(objectname)' | ` +
      `grep ^blob | cut -d' ' -f2 | git cat-file --batch`,
    reached: prints(({ secrets }) => secrets.branch),
    expected: at('possible', 'contained', 'contained'),
  },
];
