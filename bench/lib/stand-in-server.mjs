#!/usr/bin/env node
// Stands in for opencode where what is measured is cellpool's own: it starts within a tenth of a second, and its agent
// does at once what a line of the prompt says as JSON: `{"think": 1000, "file": "a.txt"}`. A file by itself, so that
// a cell can run it wherever it is copied to. It answers what cellpool asks of opencode and nothing else.
import { Buffer } from 'node:buffer';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

const VERSION = '1.18.33';
const TOKENS = { input: 10, output: 10, reasoning: 0, cache: { read: 0, write: 0 } };
const PATHS = { session: '/session', events: '/event', health: '/global/health', status: '/session/status' };

if (process.argv.includes('--version')) {
  process.stdout.write(`${VERSION}\n`);
  process.exit(0);
}
const password = process.env.OPENCODE_SERVER_PASSWORD ?? '';
const wanted = `Basic ${Buffer.from(`opencode:${password}`).toString('base64')}`;
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
const listeners = new Set();
const sessions = new Map();

function tell(type, properties) {
  for (const response of listeners) response.write(`data: ${JSON.stringify({ id: 'e', type, properties })}\n\n`);
}

function work(sessionID, prompt) {
  const { think = 0, file } = JSON.parse(/^\{"think".*\}$/m.exec(prompt)?.[0] ?? '{}');
  setTimeout(() => {
    if (file !== undefined) writeFileSync(file, 'x\n');
    const info = { id: 'msg_1', sessionID, role: 'assistant', cost: 0, tokens: TOKENS };
    const part = {
      id: 'prt_1',
      sessionID,
      messageID: info.id,
      type: 'step-finish',
      reason: 'stop',
      cost: 0,
      tokens: TOKENS,
    };
    sessions.set(sessionID, [{ info, parts: [part] }]);
    tell('message.updated', { sessionID, info });
    tell('message.part.updated', { sessionID, part, time: Date.now() });
    tell('session.idle', { sessionID });
  }, think);
}

function answer(request, response, body) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const json = (value, status = 200) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (request.headers.authorization !== wanted) return json({}, 401);
  if (pathname === PATHS.health) return json({ healthy: true, version: VERSION });
  if (pathname === PATHS.events) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    listeners.add(response);
    response.once('close', () => listeners.delete(response));
    response.write('data: {"id":"e","type":"server.connected","properties":{}}\n\n');
    return;
  }
  if (pathname === PATHS.status) return json({});
  if (pathname === PATHS.session) {
    const id = `ses_${sessions.size + 1}`;
    sessions.set(id, []);
    return json({ id });
  }
  const [, , id, what] = pathname.split('/');
  if (what === 'message') return json(sessions.get(id) ?? []);
  if (what === 'prompt_async') work(id, JSON.parse(body).parts[0].text);
  return json(what === 'abort');
}

createServer((request, response) => {
  let body = '';
  request.on('data', chunk => {
    body += chunk;
  });
  request.on('end', () => answer(request, response, body));
}).listen(port, '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
