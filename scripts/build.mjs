// Builds dist anew: a deleted source file leaves no stale module behind, and the command stays executable, which npm
// sees to only when it links it.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';

const tsc = createRequire(import.meta.url)
  .resolve('typescript/package.json')
  .replace('package.json', 'bin/tsc');
rmSync('dist', { recursive: true, force: true });
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
// What browsers load is sent as it is.
cpSync('src/board/assets', 'dist/board/assets', { recursive: true });
chmodSync('dist/cli/main.js', 0o755);
