/** Which bars a benchmark's result speaks of, and whether they were reached: every `reached`, wherever it stands. */

/** @returns `[{ bar: 'flat.fillMs', reached: true }]`; a `reached` may hold several by name. */
export function barsIn(result, path = []) {
  if (typeof result !== 'object' || result === null) return [];
  return Object.entries(result).flatMap(([key, value]) => {
    if (key !== 'reached') return barsIn(value, [...path, key]);
    if (typeof value === 'boolean') return [{ bar: path.join('.') || 'bar', reached: value }];
    return Object.entries(value ?? {}).map(([name, reached]) => ({
      bar: [...path, name].join('.'),
      reached: reached === true,
    }));
  });
}
