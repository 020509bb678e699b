/** The style sheet, script and icon of the board, held in memory. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const TYPES = {
  'board.css': 'text/css; charset=utf-8',
  'board.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml; charset=utf-8',
} as const;
type AssetName = keyof typeof TYPES;

export interface Asset {
  text: string;
  type: string;
}

const held = new Map<AssetName, Asset & { version: string }>();

/** The asset of this name; null when there is none. */
export function assetOf(name: string): Asset | null {
  return Object.hasOwn(TYPES, name) ? read(name as AssetName) : null;
}

/** Where pages find it; another path whenever its content is another, so that browsers may keep it. */
export function assetPath(name: AssetName): string {
  return `/assets/${name}?v=${read(name).version}`;
}

function read(name: AssetName): Asset & { version: string } {
  const known = held.get(name);
  if (known !== undefined) return known;
  const text = readFileSync(new URL(`./assets/${name}`, import.meta.url), 'utf8');
  const version = createHash('sha256').update(text).digest('hex').slice(0, 12);
  const asset = { text, type: TYPES[name], version };
  held.set(name, asset);
  return asset;
}
