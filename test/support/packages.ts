/** Small real packages, and where package managers find them without a network: wheels in a folder, a registry here. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { writeFiles } from './repository.ts';

/** Whether this machine has the program; where it does not, tests say so and are passed over. */
export function hasProgram(name: string): boolean {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    process.stderr.write(`skipped: there is no ${name} on PATH\n`);
    return false;
  }
}

/** A wheel of package `name` with these files, in `folder`. */
export function makeWheel(folder: string, name: string, version: string, files: Record<string, string>): void {
  const parts = join(folder, `parts-${name}`);
  const info = `${name}-${version}.dist-info`;
  const wheel = 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n';
  const metadata = `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n`;
  const all: Record<string, string> = { ...files, [`${info}/METADATA`]: metadata, [`${info}/WHEEL`]: wheel };
  const record = [...Object.keys(all), `${info}/RECORD`].map(path => `${path},,\n`).join('');
  writeFiles(parts, { ...all, [`${info}/RECORD`]: record });
  const tops = [...new Set(Object.keys(all).map(path => path.split('/')[0] ?? ''))];
  const target = join(folder, `${name}-${version}-py3-none-any.whl`);
  execFileSync('python3', ['-m', 'zipfile', '-c', target, ...tops], { cwd: parts });
  rmSync(parts, { recursive: true });
}

export interface NpmRegistry {
  url: string;
  /** Paths that were asked for, since it was last emptied. */
  readonly asked: string[];
  close(): Promise<void>;
}

/** A registry on the loopback that has one version of one package. */
export async function startNpmRegistry(
  folder: string,
  name: string,
  files: Record<string, string>,
): Promise<NpmRegistry> {
  const source = join(folder, name);
  mkdirSync(source, { recursive: true });
  writeFiles(source, { 'package.json': JSON.stringify({ name, version: '1.0.0', main: 'index.js' }), ...files });
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: source,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ filename, integrity }] = JSON.parse(packed) as [{ filename: string; integrity: string }];
  const tarball = readFileSync(join(folder, filename));
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    if (request.url === `/${filename}`) return response.end(tarball);
    if (request.url !== `/${name}`) return response.writeHead(404).end('{}');
    const dist = { tarball: `${url}/${filename}`, integrity };
    const versions = { '1.0.0': { name, version: '1.0.0', dist } };
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify({ name, 'dist-tags': { latest: '1.0.0' }, versions }));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () =>
    new Promise<void>(resolve => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url, asked, close };
}

/** Files of a project that depends on the registry's package, with the lock that the real npm makes of it. */
export async function npmProject(folder: string, registry: NpmRegistry, name: string): Promise<Record<string, string>> {
  const project = join(folder, 'project');
  const files = {
    'package.json': JSON.stringify({ name: 'project', version: '1.0.0', dependencies: { [name]: '1.0.0' } }),
    '.npmrc': `registry=${registry.url}\naudit=false\nfund=false\nupdate-notifier=false\n`,
    '.gitignore': 'node_modules/\n',
  };
  writeFiles(project, files);
  const env = { PATH: process.env.PATH ?? '', HOME: folder };
  await execa('npm', ['install', '--package-lock-only'], { cwd: project, env, extendEnv: false, timeout: 120_000 });
  return { ...files, 'package-lock.json': readFileSync(join(project, 'package-lock.json'), 'utf8') };
}
