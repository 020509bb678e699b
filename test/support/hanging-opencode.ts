/**
 * In the place of opencode, a program that hangs at a gate instead of serving, and fails when the gate is opened: an
 * attempt is running, and no cell has to boot for it.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';

export class HangingOpencode {
  readonly path: string;
  readonly #begun: string;
  readonly #open: string;

  constructor(folder: string) {
    this.path = join(folder, 'opencode');
    this.#begun = join(folder, 'opencode-begun');
    this.#open = join(folder, 'opencode-open');
    const lines = [
      '#!/bin/sh',
      'if [ "$1" = --version ]; then echo 1.18.33; exit 0; fi',
      `echo begun >> '${this.#begun}'`,
      `until [ -e '${this.#open}' ]; do sleep 0.1; done`,
      'exit 1',
    ];
    writeFileSync(this.path, `${lines.join('\n')}\n`);
    chmodSync(this.path, 0o755);
  }

  /** Resolves when so many attempts have begun, counted from the start. */
  async begun(times: number): Promise<void> {
    await vi.waitUntil(() => this.#count() >= times, { timeout: 60_000, interval: 20 });
  }

  /** Lets all attempts fail from now on. */
  open(): void {
    writeFileSync(this.#open, '');
  }

  #count(): number {
    return existsSync(this.#begun) ? readFileSync(this.#begun, 'utf8').split('\n').length - 1 : 0;
  }
}
