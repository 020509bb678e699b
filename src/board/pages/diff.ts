/** A diff with its lines told apart by colour, and by the sign that each begins with. */
import { type Html, html } from './html.ts';

/** Beyond it a browser takes its time; the whole is a link away. */
const LINES_MAX = 5_000;

export function diff(text: string): Html {
  const lines = text.replace(/\n$/, '').split('\n');
  const shown = lines.slice(0, LINES_MAX).map(
    line => html`<span class="line ${kindOf(line)}">${line}
</span>`,
  );
  const more = lines.length > LINES_MAX && html`<p class="nothing">${lines.length - LINES_MAX} more lines.</p>`;
  return html`<pre class="diff" tabindex="0" aria-label="Changes">${shown}</pre>${more}`;
}

function kindOf(line: string): string {
  if (
    /^(diff --git |index |--- |\+\+\+ |new file |deleted file |similarity |rename |old mode |new mode |Binary )/.test(
      line,
    )
  ) {
    return 'file';
  }
  if (line.startsWith('@@')) return 'hunk';
  if (line.startsWith('+')) return 'added';
  return line.startsWith('-') ? 'removed' : 'same';
}
