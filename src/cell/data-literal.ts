/**
 * Data written in JavaScript, as bundlers write JSON that is imported: keys without quotes, `!0` for true, strings in
 * any of three quotes. It is read strictly and never run: what is no such data is a fault, not a guess.
 */

/** The value that begins at `from`, and where it ends. @throws {SyntaxError} where the text is something else */
export function readLiteral(text: string, from = 0): { value: unknown; end: number } {
  const reader = new Reader(text, from);
  const value = reader.value();
  return { value, end: reader.at };
}

/** No data of ours is as deep; a text that is would end us by that alone. */
const DEEPEST = 100;
const NAME = /[A-Za-z_$][\w$]*/y;
const NUMBER = /-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/y;
const CODE = /x([\da-fA-F]{2})|u([\da-fA-F]{4})|u\{([\da-fA-F]{1,6})\}/y;
const WORDS = Object.entries({ '!0': true, '!1': false, true: true, false: false, null: null });
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v', '\n': '' };
const LAST_CODE = 0x10_ff_ff;

class Reader {
  readonly #text: string;
  at: number;
  #depth = 0;

  constructor(text: string, from: number) {
    this.#text = text;
    this.at = from;
  }

  value(): unknown {
    const first = this.#text[this.at] ?? '';
    if (first === '{') return this.#object();
    if (first === '[') return this.#list();
    if (/["'`]/.test(first)) return this.#string(first);
    const word = WORDS.find(([written]) => this.#text.startsWith(written, this.at));
    if (word === undefined) return Number(this.#match(NUMBER));
    this.at += word[0].length;
    return word[1];
  }

  #object(): object {
    const object = {};
    this.#items('}', () => {
      const key = this.#key();
      this.#pass(':');
      // Not by assignment, for which `__proto__` is no name like others.
      Object.defineProperty(object, key, {
        value: this.value(),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    });
    return object;
  }

  #list(): unknown[] {
    const list: unknown[] = [];
    this.#items(']', () => list.push(this.value()));
    return list;
  }

  #items(close: string, item: () => void): void {
    if (this.#depth >= DEEPEST) throw this.#fault();
    this.#depth += 1;
    this.at += 1;
    while (this.#text[this.at] !== close) {
      item();
      if (this.#text[this.at] !== close) this.#pass(',');
    }
    this.at += 1;
    this.#depth -= 1;
  }

  #key(): string {
    const first = this.#text[this.at] ?? '';
    if (/["']/.test(first)) return this.#string(first);
    return /[\d.]/.test(first) ? String(Number(this.#match(NUMBER))) : this.#match(NAME);
  }

  #string(quote: string): string {
    let said = '';
    for (this.at += 1; this.#text[this.at] !== quote; ) {
      const char = this.#text[this.at];
      // A text with something to fill in is no data.
      const isTemplate = quote === '`' && this.#text.startsWith('${', this.at);
      if (char === undefined || isTemplate) throw this.#fault();
      this.at += 1;
      said += char === '\\' ? this.#escaped() : char;
    }
    this.at += 1;
    return said;
  }

  #escaped(): string {
    const char = this.#text[this.at] ?? '';
    if (/[xu]/.test(char)) {
      const point = Number.parseInt(this.#match(CODE).replace(/[^\da-fA-F]/g, ''), 16);
      if (point > LAST_CODE) throw this.#fault();
      return String.fromCodePoint(point);
    }
    // `\0` followed by a digit is another character in old JavaScript, and none in the new one.
    if (char === '' || /^(?:[1-9]|0\d)/.test(this.#text.slice(this.at, this.at + 2))) throw this.#fault();
    this.at += 1;
    return char === '0' ? '\0' : (ESCAPES[char] ?? char);
  }

  #pass(char: string): void {
    if (this.#text[this.at] !== char) throw this.#fault();
    this.at += 1;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw this.#fault();
    this.at += found.length;
    return found;
  }

  #fault(): SyntaxError {
    return new SyntaxError(`no data at ${this.at}: ${JSON.stringify(this.#text.slice(this.at, this.at + 40))}`);
  }
}
