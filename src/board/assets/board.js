// The script of the board. Pages are whole without it: it counts on what passes, puts in what the server says has
// changed, and takes actions without leaving the page.

/** Longer than the pause between two heartbeats of the server. */
const SILENCE = 40_000;
const AGAIN = 3_000;

const body = document.body;
const trouble = document.getElementById('trouble');
const answer = document.getElementById('answer');

// The server's clock counts, whatever this machine's says.
let ahead = Number(body.dataset.now) - Date.now();
const now = () => Date.now() + ahead;

const two = value => String(value).padStart(2, '0');

function elapsed(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

function ago(ms) {
  if (ms < 60_000) return 'just now';
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`;
  return ms < 86_400_000 ? `${Math.floor(ms / 3_600_000)} h ago` : `${Math.floor(ms / 86_400_000)} d ago`;
}

function until(ms) {
  if (ms <= 0) return 'now';
  return ms < 120_000 ? `in ${Math.ceil(ms / 1000)} s` : `in ${Math.ceil(ms / 60_000)} min`;
}

/** Writes what passes; nothing is touched that reads the same as before. */
function tick() {
  const write = (name, words) => {
    for (const element of document.querySelectorAll(`[data-${name}]`)) {
      const text = words(Number(element.dataset[name]));
      if (element.textContent !== text) element.textContent = text;
    }
  };
  write('elapsed', since => elapsed(now() - since));
  write('ago', at => ago(now() - at));
  write('ahead', at => until(at - now()));
}

/**
 * Makes `old` like `fresh` by changing what differs, so that focus, selection and what was opened stay.
 */
function become(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether something is opened is the reader's to say.
    if (!fresh.hasAttribute(name) && name !== 'open' && name !== 'aria-disabled') old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // What passes is written by `tick`.
  if (old.matches('[data-elapsed], [data-ago], [data-ahead]')) return;
  becomeAll(old, [...fresh.childNodes]);
}

const keyOf = node => node.dataset?.key ?? null;

/** Rows are known by their keys: one that comes or goes leaves the others alone. */
function becomeAll(parent, fresh) {
  const keys = new Set(fresh.map(keyOf));
  for (const node of [...parent.childNodes]) {
    if (keyOf(node) !== null && !keys.has(keyOf(node))) node.remove();
  }
  for (const [index, node] of fresh.entries()) {
    const old = [...parent.childNodes];
    const here = old[index] ?? null;
    const key = keyOf(node);
    const known = key === null ? here : (old.find(one => keyOf(one) === key) ?? null);
    if (known === null || (key === null && keyOf(known) !== null)) {
      parent.insertBefore(node, here);
      continue;
    }
    if (known !== here) parent.insertBefore(known, here);
    become(known, node);
  }
  for (const node of [...parent.childNodes].slice(fresh.length)) node.remove();
}

function show(element, text) {
  element.hidden = text === '';
  if (element.textContent !== text) element.textContent = text;
}

function putIn({ at, parts }) {
  ahead = at - Date.now();
  const focused = document.activeElement;
  for (const [id, text] of Object.entries(parts)) {
    const element = document.getElementById(id);
    if (element === null || !('part' in element.dataset)) continue;
    const fresh = document.createElement('template');
    // The server escapes whatever it did not write itself, and the page's policy lets no script of it run.
    fresh.innerHTML = text;
    becomeAll(element, [...fresh.content.childNodes]);
  }
  // The row in which the focus was is gone; what was answered about it is where a reader goes on.
  if (!focused.isConnected && !answer.hidden) answer.focus();
  body.dataset.updated = String(at);
  tick();
}

let silence;

function listen(path) {
  const events = new EventSource(path);
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => again('The board has gone silent'), SILENCE);
  };
  const again = why => {
    clearTimeout(silence);
    events.close();
    show(trouble, `${why}; what is shown may be old. Trying again.`);
    setTimeout(() => listen(path), AGAIN);
  };
  events.addEventListener('parts', event => {
    heard();
    show(trouble, '');
    putIn(JSON.parse(event.data));
  });
  events.addEventListener('away', event => {
    heard();
    show(trouble, `${JSON.parse(event.data).reason} What is shown is from before.`);
  });
  events.addEventListener('beat', heard);
  events.onopen = heard;
  events.onerror = () => again('The board does not answer');
  addEventListener('pagehide', () => events.close(), { once: true });
}

/** Forms whose actions are under way. */
const acting = new WeakSet();

async function act(form) {
  const { confirm: question } = form.dataset;
  if (question !== undefined && !confirm(question)) return;
  if (acting.has(form)) return;
  acting.add(form);
  const button = form.querySelector('button');
  // Not `disabled`: a button that is loses the focus.
  button.setAttribute('aria-disabled', 'true');
  try {
    const headers = { accept: 'application/json', 'content-type': 'application/json' };
    const response = await fetch(form.action, { method: 'POST', headers });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json');
    // An action answers with a message; whatever kept it from being taken, with an error.
    const { message, error } = isJson ? JSON.parse(text) : { message: text };
    const said = message || error;
    show(answer, said || `The board answered ${response.status}.`);
  } catch {
    show(answer, 'The board does not answer; nothing may have been done.');
  } finally {
    acting.delete(form);
    button.removeAttribute('aria-disabled');
    if (!button.isConnected && document.activeElement === body) answer.focus();
  }
}

document.addEventListener('submit', event => {
  if (event.target.method !== 'post') return;
  event.preventDefault();
  void act(event.target);
});

// A page that was kept by the browser while another was looked at.
addEventListener('pageshow', event => {
  if (event.persisted) location.reload();
});

/** What an address names is opened, so that a link to a part of a page leads to something. */
function openNamed() {
  const id = decodeURIComponent(location.hash.slice(1));
  const element = id === '' ? null : document.getElementById(id);
  if (element?.tagName === 'DETAILS') element.open = true;
  element?.scrollIntoView();
}

addEventListener('hashchange', openNamed);
openNamed();
tick();
setInterval(tick, 1_000);
if (body.dataset.events !== undefined) listen(body.dataset.events);
