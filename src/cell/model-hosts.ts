/** Where the model of a cell is to be called, so that a cell without a network still gets its answers. */
import { type Host, isRecord, parseHost } from '../config.ts';
import { providerOf } from './environment.ts';

/** Of providers that opencode knows by itself; others say it in their config, as `baseURL`. */
const KNOWN: Record<string, readonly string[]> = {
  anthropic: ['api.anthropic.com'],
  openai: ['api.openai.com'],
  google: ['generativelanguage.googleapis.com'],
  openrouter: ['openrouter.ai'],
  opencode: ['opencode.ai'],
  groq: ['api.groq.com'],
  mistral: ['api.mistral.ai'],
  deepseek: ['api.deepseek.com'],
  xai: ['api.x.ai'],
};

/** Hosts and ports of all providers that a cell's opencode config uses: of its models and of those it describes. */
export function modelHosts(config: Record<string, unknown>): Host[] {
  const described = isRecord(config.provider) ? config.provider : {};
  const models = [config.model, config.small_model].filter(model => typeof model === 'string');
  const names = new Set([...models.map(providerOf), ...Object.keys(described)]);
  return [...names].flatMap(name => {
    const provider = described[name];
    const options = isRecord(provider) && isRecord(provider.options) ? provider.options : {};
    if (typeof options.baseURL !== 'string') return (KNOWN[name] ?? []).map(host => ({ host, port: 443 }));
    const url = URL.canParse(options.baseURL) ? new URL(options.baseURL) : null;
    const target = url === null ? null : parseHost(url.host, url.protocol === 'http:' ? 80 : 443);
    return target === null ? [] : [target];
  });
}
