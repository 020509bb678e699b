/** Small multiples as SVG: a row of panels, each with lines over a logarithmic axis, or bars over names. */

const PANEL = { width: 260, height: 180, left: 52, right: 12, top: 34, bottom: 38 };
const COLOURS = ['#2463eb', '#d9480f', '#2b8a3e', '#862e9c', '#495057', '#c2255c'];
const TICKS = 4;

const escaped = text => String(text).replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
const at = value => value.toFixed(1);
const text = (x, y, words, more = '') => `<text x="${at(x)}" y="${at(y)}" ${more}>${escaped(words)}</text>`;

/** The next round number from `value` upward: 1, 2, 2.5 or 5 times a power of ten. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map(step => step * power).find(step => step >= value * 0.999_999);
}

function frame({ title, unit }, top, yOf) {
  const right = PANEL.width - PANEL.right;
  const lines = Array.from({ length: TICKS + 1 }, (_, tick) => {
    const value = (top * tick) / TICKS;
    const y = yOf(value);
    return (
      `<line x1="${PANEL.left}" x2="${right}" y1="${at(y)}" y2="${at(y)}" stroke="#dee2e6"/>` +
      text(PANEL.left - 5, y + 3, Number(value.toPrecision(3)), 'text-anchor="end"')
    );
  });
  return [text(PANEL.left, 12, title, 'font-weight="bold"'), text(PANEL.left, 26, unit, 'fill="#495057"'), ...lines];
}

/** `lines`: `{ name: [[x, y], ...] }`, with every x above 0. */
function linePanel(panel, yOf, top) {
  const points = Object.values(panel.lines).flat();
  const logs = points.map(([x]) => Math.log(x));
  const [least, most] = [Math.min(...logs), Math.max(...logs)];
  const span = PANEL.width - PANEL.left - PANEL.right - 16;
  const xOf = x => PANEL.left + 8 + (most === least ? span / 2 : ((Math.log(x) - least) / (most - least)) * span);
  const parts = frame(panel, top, yOf);
  for (const x of new Set(points.map(([value]) => value))) {
    parts.push(text(xOf(x), PANEL.height - PANEL.bottom + 14, x, 'text-anchor="middle"'));
  }
  for (const [index, [name, line]] of Object.entries(panel.lines).entries()) {
    const colour = COLOURS[index % COLOURS.length];
    const path = line.map(([x, y]) => `${at(xOf(x))},${at(yOf(y))}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [x, y] of line) parts.push(`<circle cx="${at(xOf(x))}" cy="${at(yOf(y))}" r="2.5" fill="${colour}"/>`);
    parts.push(text(PANEL.left + index * 68, PANEL.height - 6, name, `fill="${colour}"`));
  }
  return parts;
}

/** `bars`: `{ name: value }`. */
function barPanel(panel, yOf, top) {
  const entries = Object.entries(panel.bars);
  const step = (PANEL.width - PANEL.left - PANEL.right) / entries.length;
  const floor = yOf(0);
  const parts = frame(panel, top, yOf);
  for (const [index, [name, value]] of entries.entries()) {
    const x = PANEL.left + index * step;
    const y = yOf(value);
    const size = `width="${at(step * 0.6)}" height="${at(floor - y)}"`;
    parts.push(`<rect x="${at(x + step * 0.2)}" y="${at(y)}" ${size} fill="${COLOURS[index % COLOURS.length]}"/>`);
    parts.push(text(x + step / 2, y - 3, value, 'text-anchor="middle"'));
    parts.push(text(x + step / 2, floor + 14, name, 'text-anchor="middle"'));
  }
  return parts;
}

/** One picture, whose `title` is for who cannot see it, of panels `{ title, unit, lines }` or `{ title, unit, bars }`, side by side. */
export function drawPanels(title, panels) {
  const drawn = panels.map((panel, index) => {
    const values = panel.bars
      ? Object.values(panel.bars)
      : Object.values(panel.lines).flatMap(line => line.map(([, y]) => y));
    const top = roundUp(Math.max(...values));
    const yOf = value => PANEL.height - PANEL.bottom - (value / top) * (PANEL.height - PANEL.top - PANEL.bottom);
    const parts = panel.bars ? barPanel(panel, yOf, top) : linePanel(panel, yOf, top);
    return `<g transform="translate(${index * PANEL.width} 0)">\n${parts.join('\n')}\n</g>`;
  });
  const size = `width="${panels.length * PANEL.width}" height="${PANEL.height}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="10">`,
    `<title>${escaped(title)}</title>`,
    `<rect ${size} fill="#ffffff"/>`,
    ...drawn,
    '</svg>\n',
  ].join('\n');
}
