import { describe, expect, onTestFinished, test } from 'vitest';
import { addWarmUpModel, type WarmUpEndpoint, WarmUpModel } from '../../src/cell/warm-up-model.ts';

async function ask({ baseURL }: WarmUpEndpoint, key: string, body: unknown): Promise<{ status: number; text: string }> {
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}

const tool = (name: string) => ({ type: 'function', function: { name } });
const FIRST = { messages: [{ role: 'system' }, { role: 'user' }], tools: [tool('bash'), tool('write')] };

async function opened(model = new WarmUpModel()): Promise<WarmUpEndpoint> {
  const endpoint = await model.open();
  onTestFinished(() => endpoint.close());
  return endpoint;
}

describe('the model of warm-up sessions', () => {
  test('has the agent do what changes nothing, of the tools that it has, and then says that it is ready', async () => {
    const endpoint = await opened();
    const first = await ask(endpoint, endpoint.key, FIRST);
    expect(first.status).toBe(200);
    expect(first.text).toContain(JSON.stringify(JSON.stringify({ command: 'true', description: 'Warms up' })));
    expect(first.text).not.toContain('glob');
    const last = await ask(endpoint, endpoint.key, { ...FIRST, messages: [...FIRST.messages, { role: 'tool' }] });
    expect(last.text).toContain('"finish_reason":"stop"');
    expect(last.text).not.toContain('tool_calls');
    expect(last.text.trimEnd().endsWith('data: [DONE]')).toBe(true);
  });

  test('answers nobody without a key, nor with that of a cell that is warm already', async () => {
    const model = new WarmUpModel();
    const [one, other] = [await opened(model), await opened(model)];
    expect(other.baseURL).toBe(one.baseURL);
    await one.close();
    for (const key of ['', 'x', one.key]) expect(await ask(other, key, FIRST)).toEqual({ status: 401, text: '' });
    expect((await ask(other, other.key, FIRST)).status).toBe(200);
  });

  test('refuses what is no request for a completion', async () => {
    const endpoint = await opened();
    for (const body of [null, [], {}, { messages: 'x' }]) {
      expect(await ask(endpoint, endpoint.key, body)).toEqual({ status: 400, text: '' });
    }
  });

  test('listens only while somebody has a key, and tells once when one is given up', async () => {
    const model = new WarmUpModel();
    const endpoint = await opened(model);
    let told = 0;
    endpoint.whenClosed(() => {
      told += 1;
    });
    await Promise.all([endpoint.close(), endpoint.close()]);
    await endpoint.close();
    expect(told).toBe(1);
    await expect(ask(endpoint, endpoint.key, FIRST)).rejects.toThrow('fetch failed');
    expect((await ask(await opened(model), endpoint.key, FIRST)).status).toBe(401);
  });
});

describe('the config of a server that is to be warmed up', () => {
  test('has the model beside all others, also where providers are listed, and keeps what it had', async () => {
    const endpoint = await opened();
    const config = { model: 'a/b', provider: { a: { npm: 'x' } }, enabled_providers: ['a'] };
    expect(addWarmUpModel(config, endpoint)).toMatchObject({
      model: 'a/b',
      provider: {
        a: { npm: 'x' },
        'cellpool-warm-up': { options: { baseURL: endpoint.baseURL, apiKey: endpoint.key } },
      },
      enabled_providers: ['a', 'cellpool-warm-up'],
    });
    expect(addWarmUpModel({}, endpoint)).not.toHaveProperty('enabled_providers');
    expect(addWarmUpModel(config, undefined)).toBe(config);
  });
});
