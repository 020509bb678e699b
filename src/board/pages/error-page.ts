/** What is shown instead of a page that is not to be had. */
import { html } from './html.ts';
import { page } from './layout.ts';

export function errorPage(status: number, message: string, now: number): string {
  const title = status === 404 ? 'Not found' : status === 503 ? 'Not now' : 'Failed';
  const content = html`<h1>${title}</h1><p>${message}</p>${status === 503 && html`<p>Load the page again in a moment.</p>`}`;
  return page({ title, here: null, content, now });
}
