/** The template that makes all HTML of the board. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { html } from '../../src/board/pages/html.ts';

test('what is put in is escaped, what was made by a template is not escaped twice', () => {
  const inner = html`<b>${'<i>'}</b>`;
  expect(html`<p title="${'"x"'}">${inner}${[inner, '&']}</p>`.toString()).toBe(
    '<p title="&quot;x&quot;"><b>&lt;i&gt;</b><b>&lt;i&gt;</b>&amp;</p>',
  );
});

test('nothing, null and false leave nothing; 0 is a figure', () => {
  expect(html`${null}${undefined}${false}${0}${''}`.toString()).toBe('0');
});

test('something that only looks like made HTML is taken for a text', () => {
  const forged = JSON.parse('{"isEscaped": true, "text": "<script>"}') as never;
  expect(html`${forged}`.toString()).not.toContain('<');
});

test('no text can bring in a tag, end an attribute or begin an entity', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      const made = html`${text}`.toString();
      expect(made).not.toMatch(/[<>"']/);
      expect(made.replace(/&(amp|lt|gt|quot|#39);/g, '')).not.toContain('&');
    }),
  );
});

test('characters that are not seen, or turn the direction of what follows, are made visible', () => {
  expect(html`a${'\0\u202e\u2066\x1b[31m'}b`.toString()).toBe('a\ufffd\ufffd\ufffd\ufffd[31mb');
  expect(html`${'a\tb\nc'}`.toString()).toBe('a\tb\nc');
});
