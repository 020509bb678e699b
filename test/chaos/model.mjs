/** The model of a run: the scripted one, behind a door that refuses when the plan wants it to. */
import { once } from 'node:events';
import { request as ask, createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { SCRIPTED_MODEL, startScriptedModel } from '../../dist/cli/demo/scripted-model.js';
import { BUSY_MODEL, refusalMark } from './tasks.mjs';

const RETRY_AFTER_S = '1';

/** @returns the opencode config for it, `refuseFor(ms)` for a burst of 429, what it refused so far, and `close`. */
export async function startModel() {
  const model = await startScriptedModel();
  const target = new URL(model.baseURL);
  /** By nonce: how often a task of the busy kind was refused. It is told here, because a cell forgets. */
  const refused = new Map();
  let refusesUntil = 0;
  let refusals = 0;

  const server = createServer(async (incoming, answer) => {
    // An agent that is killed takes its connections with it; that is no fault of ours.
    incoming.on('error', () => answer.destroy());
    const body = await buffer(incoming).catch(() => null);
    if (body === null) return;
    if (Date.now() < refusesUntil || isRefused(refused, body.toString())) {
      refusals += 1;
      answer.writeHead(429, { 'content-type': 'application/json', 'retry-after': RETRY_AFTER_S });
      answer.end(JSON.stringify({ error: { message: 'chaos says 429', type: 'rate_limit', code: '429' } }));
      return;
    }
    const { method, headers, url: path } = incoming;
    const forward = ask({ host: target.hostname, port: target.port, method, headers, path }, reply => {
      answer.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(answer);
    });
    forward.on('error', () => answer.destroy());
    answer.on('close', () => forward.destroy());
    forward.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const config = model.opencodeConfig();
  const { scripted } = config.provider;
  scripted.options.baseURL = `http://127.0.0.1:${server.address().port}/v1`;
  scripted.models[BUSY_MODEL.split('/')[1]] = { ...scripted.models.model, name: 'Busy model' };
  return {
    name: SCRIPTED_MODEL,
    config,
    get refusals() {
      return refusals;
    },
    refuseFor(ms) {
      refusesUntil = Date.now() + ms;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await model.close();
    },
  };
}

function isRefused(refused, text) {
  const [, nonce, times] = refusalMark.exec(text) ?? [];
  if (nonce === undefined) return false;
  const given = refused.get(nonce) ?? 0;
  if (given >= Number(times)) return false;
  refused.set(nonce, given + 1);
  return true;
}
