/** The table attack x level, and its place in docs/security.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { IsolationLevel } from '../../src/os/isolation.ts';
import { LEVELS, type Row, type Verdict } from './attack.ts';

const PAGE = fileURLToPath(new URL('../../docs/security.md', import.meta.url));
const BEGIN = '<!-- attacks: made by UPDATE=1 npm run attack -->\n';
const END = '\n<!-- attacks: end -->';

/** As Markdown; a dash stands for what was not tried. */
export function tableOf(
  attacks: readonly Row[],
  verdict: (attack: Row, level: IsolationLevel) => Verdict | null,
): string {
  const rows = attacks.map(attack => [attack.title, ...LEVELS.map(level => shown(verdict(attack, level)))]);
  const lines = [['the agent tries to', ...LEVELS], LEVELS.map(() => '---').concat('---'), ...rows];
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n');
}

const shown = (verdict: Verdict | null) => (verdict === 'possible' ? '**possible**' : (verdict ?? '–'));

/** The table that the page has; with `update` the page is given this one first. */
export function keepTable(table: string, update: boolean): string {
  const page = readFileSync(PAGE, 'utf8');
  const from = page.indexOf(BEGIN) + BEGIN.length;
  const to = page.indexOf(END);
  if (from < BEGIN.length || to < from) throw new Error(`the marks of the table are gone from ${PAGE}`);
  if (!update) return page.slice(from, to);
  writeFileSync(PAGE, `${page.slice(0, from)}${table}${page.slice(to)}`);
  return table;
}
