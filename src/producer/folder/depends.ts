/** What an item waits for: other items of the folder, until all of them are done. */
import type { Fault } from '../../errors.ts';
import type { Item } from './item.ts';
import { STATUS } from './names.ts';

/** An item, or why its file is none. */
export type Loaded = { item: Item } | { faults: readonly Fault[] };

export interface Depends {
  /** A name that is none, or a circle in which everything would wait for ever. */
  faults: Fault[];
  /** Whether one of them is not done. */
  waits: boolean;
}

type Load = (name: string) => Promise<Loaded | null>;

/** `load` gives an item by its name; null when there is none. */
export async function dependsOf(item: Item, load: Load): Promise<Depends> {
  const faults: Fault[] = [];
  let waits = false;
  const where = `${item.file}:${item.front.lineOf(['dependsOn'])}`;
  for (const name of item.dependsOn) {
    const other = await load(name);
    if (other === null)
      faults.push({ where, what: `"dependsOn" names ${JSON.stringify(name)}, and there is no such file` });
    else if ('faults' in other || other.item.status !== STATUS.done) waits = true;
  }
  const circle = waits ? await circleOf(item, load) : null;
  if (circle !== null) faults.push({ where, what: `"dependsOn" goes in a circle: ${circle.join(', ')}` });
  return { faults, waits };
}

/** The names on a way from the item back to itself; null when there is none. */
async function circleOf(item: Item, load: Load): Promise<string[] | null> {
  const seen = new Set<string>();
  const ways = item.dependsOn.map(name => [item.name, name]);
  for (let way = ways.pop(); way !== undefined; way = ways.pop()) {
    const name = way.at(-1) as string;
    if (name === item.name) return way;
    if (seen.has(name)) continue;
    seen.add(name);
    const next = await load(name);
    if (next !== null && 'item' in next) for (const one of next.item.dependsOn) ways.push([...way, one]);
  }
  return null;
}
