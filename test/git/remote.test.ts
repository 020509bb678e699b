/** Git asked about repositories elsewhere, over real transports: what it finds, and how it is told why it does not. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { CellpoolError } from '../../src/errors.ts';
import { remoteBranches } from '../../src/git/remote.ts';
import { withRemoteFile } from '../../src/git/remote-file.ts';
import { saidOf, troubleOf } from '../../src/git/remote-trouble.ts';
import { startGitServer } from '../support/git-server.ts';
import { helperOf, makeRemote, useGitConfig } from '../support/remote.ts';
import { tempFolder, writeFiles } from '../support/repository.ts';

afterEach(() => vi.unstubAllEnvs());

async function served(files?: Record<string, string>) {
  const folder = tempFolder('remote');
  useGitConfig(folder, '');
  const remote = makeRemote(folder, files);
  const server = await startGitServer(remote.root);
  return { folder, remote, server, url: `${server.address}/app.git` };
}

async function faultOf(work: Promise<unknown>): Promise<CellpoolError> {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error instanceof CellpoolError) return error;
  throw error ?? new Error('it did not fail');
}

describe('the branches of a remote', () => {
  test('are told by a folder and by a server alike', async () => {
    const { remote, url } = await served();
    const topic = remote.push('a/topic', { 'b.txt': 'b\n' });
    const branches = new Map([
      ['a/topic', topic],
      ['main', remote.tip('main')],
    ]);
    expect(await remoteBranches(remote.url)).toEqual(branches);
    expect(await remoteBranches(url)).toEqual(branches);
  });

  test('are asked for by whole names', async () => {
    const { remote, url } = await served();
    remote.push('x/main', { 'b.txt': 'b\n' });
    remote.push('main2', { 'b.txt': 'b\n' });
    const asked = await remoteBranches(url, { only: ['main', 'gone'] });
    expect([...asked.keys()]).toEqual(['main']);
  });

  test('are told to whom the credential helper lets in, and the password stands in no message', async () => {
    const { folder, server, url } = await served();
    server.users.set('me', 'right-password');
    useGitConfig(folder, helperOf('me', 'right-password'));
    expect([...(await remoteBranches(url)).keys()]).toEqual(['main']);

    useGitConfig(folder, helperOf('me', 'wrong-password'));
    const wrong = await faultOf(remoteBranches(url));
    expect(wrong).toMatchObject({ code: 'REMOTE_REFUSED', message: expect.stringContaining('Authentication failed') });
    expect(JSON.stringify([wrong.message, wrong.hint, wrong.facts])).not.toContain('wrong-password');
  });

  test('are not to be had without credentials, and nobody is asked for them', async () => {
    const { server, url } = await served();
    server.users.set('me', 'right-password');
    vi.stubEnv('SSH_ASKPASS', '/bin/false');
    expect(await faultOf(remoteBranches(url))).toMatchObject({ code: 'REMOTE_REFUSED', exitCode: 3 });
  });

  test('are not to be had of what is not there, which is the fault of the address', async () => {
    const { url, server } = await served();
    expect(await faultOf(remoteBranches(`${url}x`))).toMatchObject({ code: 'NO_SUCH_REMOTE', exitCode: 2 });
    expect(server.requests.at(-1)).toMatch(/404$/);
  });

  test('of a folder that is not there are what this machine lacks', async () => {
    const { remote } = await served();
    const missing = await faultOf(remoteBranches(`${remote.url}x`));
    expect(missing).toMatchObject({ code: 'NOT_A_REPOSITORY', message: expect.stringContaining(remote.url) });
  });

  test('are waited for no longer than was said', async () => {
    const { url, server } = await served();
    server.trouble.set('fetch', 'hang');
    const late = await faultOf(remoteBranches(url, { timeoutMs: 300 }));
    expect(late).toMatchObject({ code: 'REMOTE_UNREACHABLE', message: `${url} did not answer within 0.3 s` });
    const cancel = new AbortController();
    const asked = remoteBranches(url, { signal: cancel.signal });
    cancel.abort('not wanted any more');
    await expect(asked).rejects.toBe('not wanted any more');
  });

  test.each([503, 500])('are not to be had of a server that answers %i, for now', async status => {
    const { url, server } = await served();
    server.trouble.set('fetch', status);
    expect(await faultOf(remoteBranches(url))).toMatchObject({ code: 'REMOTE_UNREACHABLE', retryable: true });
  });

  test('are not to be had where nobody listens', async () => {
    useGitConfig(tempFolder('remote'), '');
    // The discard port: a server of ours would be somebody.
    expect(await faultOf(remoteBranches('http://127.0.0.1:9/app.git'))).toMatchObject({ code: 'REMOTE_UNREACHABLE' });
  });

  test('come by no other protocol, whatever the address is rewritten to', async () => {
    const { folder } = await served();
    const mark = join(folder, 'mark');
    useGitConfig(folder, `[url "ext::touch ${mark} "]\n\tinsteadOf = https://example.org/\n`);
    const refused = await faultOf(remoteBranches('https://example.org/app.git'));
    expect(refused.message).toContain("transport 'ext' not allowed");
    expect(readdirSync(folder)).not.toContain('mark');
  });

  test('are told without the password that a rewritten address holds', async () => {
    const { folder, server, url } = await served();
    server.users.set('me', 'right-password');
    useGitConfig(
      folder,
      `[url "${server.address.replace('//', '//me:s3cret@')}/"]\n\tinsteadOf = https://example.org/\n`,
    );
    const refused = await faultOf(remoteBranches('https://example.org/app.git'));
    expect(url).toContain('127.0.0.1');
    expect(JSON.stringify([refused.message, refused.facts])).not.toContain('s3cret');
  });

  test('are asked with ssh that asks nobody, unless the user has said how ssh is started', async () => {
    const folder = tempFolder('remote');
    const ssh = join(folder, 'bin', 'ssh');
    mkdirSync(join(folder, 'bin'));
    writeFileSync(
      ssh,
      `#!/bin/sh\necho "$@" >> ${folder}/calls\necho 'Permission denied (publickey).' >&2\nexit 255\n`,
      {
        mode: 0o755,
      },
    );
    vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env.PATH}`);
    vi.stubEnv('GIT_SSH_COMMAND', '');
    useGitConfig(folder, '');
    expect(await faultOf(remoteBranches('git@example.org:app.git'))).toMatchObject({ code: 'REMOTE_REFUSED' });
    useGitConfig(folder, `[core]\n\tsshCommand = "${ssh} -i key"\n`);
    await faultOf(remoteBranches('ssh://example.org/app.git'));
    vi.stubEnv('GIT_SSH_COMMAND', `${ssh} -F mine`);
    await faultOf(remoteBranches('git@example.org:app.git'));
    const calls = readFileSync(join(folder, 'calls'), 'utf8');
    const [first, second, third] = calls.split('\n').filter(line => !line.includes('-G'));
    expect(first).toMatch(/^-o BatchMode=yes .*git@example\.org git-upload-pack 'app\.git'$/);
    expect(second).toMatch(/^-i key .*example\.org git-upload-pack '\/app\.git'$/);
    expect(third).toMatch(/^-F mine /);
  });
});

describe('a file of a remote', () => {
  const read = (url: string, name = 'cellpool.yaml', branch = 'main') =>
    withRemoteFile({ url, branch, name, timeoutMs: 20_000 }, folder =>
      readdirSync(folder).map(one => [one, readFileSync(join(folder, one), 'utf8')]),
    );

  test('is read from the tip of the branch, from a folder and from a server alike', async () => {
    const { remote, url } = await served({ 'cellpool.yaml': 'test: one\n', 'other.txt': 'x\n' });
    remote.push('topic', { 'cellpool.yaml': 'test: ü\n' });
    for (const one of [remote.url, url]) {
      expect(await read(one)).toEqual([['cellpool.yaml', 'test: one\n']]);
      expect(await read(one, 'cellpool.yaml', 'topic')).toEqual([['cellpool.yaml', 'test: ü\n']]);
      expect(await read(one, 'missing.yaml')).toEqual([]);
    }
  });

  test('comes alone where the server can leave the others out', async () => {
    const { remote, url, server } = await served({ 'cellpool.yaml': 'test: one\n', 'other.txt': 'x\n' });
    writeFileSync(join(remote.bare, 'config'), '[core]\n\tbare = true\n[uploadpack]\n\tallowFilter = true\n');
    expect(await read(url)).toEqual([['cellpool.yaml', 'test: one\n']]);
    // Once for the tip, and once more for what was asked for.
    expect(server.requests.filter(one => one.startsWith('POST')).length).toBeGreaterThan(2);
  });

  test('that is a link is refused: it may lead anywhere', async () => {
    const { remote, url } = await served();
    symlinkSync('/etc/passwd', join(remote.theirs, 'cellpool.yaml'));
    remote.push('linked', {});
    await expect(read(url, 'cellpool.yaml', 'linked')).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: `cellpool.yaml: is no file on branch linked of ${url}`,
    });
  });

  test('leaves nothing behind, also when it cannot be had', async () => {
    const { folder, server, url } = await served({ 'cellpool.yaml': 'x' });
    const temp = join(folder, 'temp');
    mkdirSync(temp);
    vi.stubEnv('TMPDIR', temp);
    await read(url);
    server.trouble.set('fetch', 503);
    expect(await faultOf(read(url))).toMatchObject({ code: 'REMOTE_UNREACHABLE' });
    writeFiles(folder, {});
    expect(readdirSync(temp)).toEqual([]);
  });
});

describe('what git says of a remote', () => {
  test.each<[string, string]>([
    ['refused', "fatal: could not read Username for 'https://example.org': terminal prompts disabled"],
    ['refused', "fatal: unable to access 'https://example.org/x/': The requested URL returned error: 403"],
    ['refused', 'git@example.org: Permission denied (publickey).\nfatal: Could not read from remote repository.'],
    ['refused', 'Host key verification failed.\nfatal: Could not read from remote repository.'],
    ['refused', "fatal: detected dubious ownership in repository at '/srv/x.git'"],
    ['unknown', "fatal: repository 'https://example.org/x/' not found"],
    ['unknown', 'ERROR: Repository not found.\nfatal: Could not read from remote repository.'],
    ['unknown', "fatal: '/srv/x.git' does not appear to be a git repository"],
    ['unreachable', "fatal: unable to access 'https://example.org/x/': Could not resolve host: example.org"],
    ['unreachable', 'ssh: connect to host example.org port 22: Connection timed out'],
    ['unreachable', 'fatal: the remote end hung up unexpectedly'],
    ['unreachable', ''],
  ])('is judged as %s: %s', (trouble, said) => {
    expect(troubleOf(said)).toBe(trouble);
  });

  test('is told on one line, without passwords, control characters and advice for everybody', () => {
    const said =
      "\u001b[31mfatal: unable to access 'https://me:s3cret@example.org/x/': no\u001b[0m\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
    expect(saidOf(said)).toBe("[31mfatal: unable to access 'https://example.org/x/': no [0m");
    expect(saidOf('x'.repeat(5_000))).toHaveLength(600);
  });
});
