/**
 * HTML that is safe by the way it is made: whatever a template takes in is escaped, unless it was made by a template
 * itself. Attributes must stand in double quotes. What is shown comes from agents and from a Redis that anybody may
 * write to, so there is no way to say that a text is safe already.
 */

export class Html {
  readonly #text: string;

  /** For `html` alone. */
  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

export type HtmlPart = Html | string | number | null | undefined | false | readonly HtmlPart[];

/** The template: nothing, null and false leave nothing, lists are put in one after the other. */
export function html(strings: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  let text = strings[0] ?? '';
  for (const [index, part] of parts.entries()) text += textOf(part) + (strings[index + 1] ?? '');
  return new Html(text);
}

function textOf(part: HtmlPart): string {
  if (part instanceof Html) return part.toString();
  if (Array.isArray(part)) return part.map(textOf).join('');
  if (part === null || part === undefined || part === false) return '';
  return escaped(String(part));
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Control characters but tab and line ends, and those that turn the direction of all that follows. */
const UNSEEN = /[^\P{Cc}\t\n\r]|[\u202a-\u202e\u2066-\u2069]/gu;

function escaped(text: string): string {
  return text.replace(UNSEEN, '\ufffd').replace(/[&<>"']/g, found => ENTITIES[found] ?? '');
}
