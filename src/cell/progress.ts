/** What of a server's events is progress of its agent. */
import type { Event } from '@opencode-ai/sdk/v2/client';
import { callInWords } from './tool-call.ts';

/**
 * What an event shows to have been going on, in words; null when it is no progress. Progress are tokens of an answer,
 * a tool's call and its output, the end of a step. Heartbeats and notices of the provider's trouble are none; a
 * `step-start` comes before a provider's error too, and a part that is a text may be the prompt. A tool that is at work
 * is heard of when it prints something, and only then.
 */
export function progressIn(event: Event): (() => string) | null {
  if (event.type === 'message.part.delta')
    return event.properties.delta === '' ? null : () => 'the model was answering';
  if (event.type !== 'message.part.updated') return null;
  const { part } = event.properties;
  if (part.type === 'step-finish') return () => 'the model had answered';
  if (part.type !== 'tool') return null;
  const isOver = part.state.status === 'completed' || part.state.status === 'error';
  const { tool, state } = part;
  return () => `${callInWords({ tool, input: state.input })} ${isOver ? 'had ended' : 'was at work'}`;
}
