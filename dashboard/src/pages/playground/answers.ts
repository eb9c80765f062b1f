// What an answer is made of, and how it can be shown. Pure.

/** `unknown` until its bytes say whether they are text. */
export type BodyKind = 'json' | 'text' | 'events' | 'image' | 'binary' | 'unknown';

/** What the answer says that it is. */
export function announcedKind(contentType: string): BodyKind {
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'text/event-stream') return 'events';
  if (type === 'application/json' || type.endsWith('+json')) return 'json';
  if (type.startsWith('text/') || ['application/xml', 'application/javascript', 'application/x-ndjson'].includes(type))
    return 'text';
  if (type.startsWith('image/')) return 'image';
  // A generator's pieces come as a stream of octets, whatever they are.
  if (type === '' || type === 'application/octet-stream') return 'unknown';
  return 'binary';
}

const IMAGES: [type: string, begin: number[]][] = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47]],
  ['image/jpeg', [0xff, 0xd8, 0xff]],
  ['image/gif', [0x47, 0x49, 0x46, 0x38]],
  ['image/webp', [0x52, 0x49, 0x46, 0x46]],
];

/** The type of an image by its first bytes. */
export const imageType = (bytes: Uint8Array): string | undefined =>
  IMAGES.find(([, begin]) => begin.every((byte, index) => bytes[index] === byte))?.[0];

/** Whether a text is one for people: no control characters but those that lay it out. */
export const isReadable = (text: string): boolean => !/[\0-\x08\x0e-\x1a\x1c-\x1f]/.test(text);

/** What an event adds to the text: a token where it has one (as language models send them), else its data on a line. */
export function tokenOf(data: string): string {
  if (data === '[DONE]') return '';
  let said: unknown;
  try {
    said = JSON.parse(data);
  } catch {
    return `${data}\n`;
  }
  if (typeof said === 'string') return said;
  const found = [
    ['choices', 0, 'delta', 'content'],
    ['choices', 0, 'text'],
    ['token', 'text'],
    ['token'],
    ['delta', 'text'],
    ['text'],
  ].map((path) => path.reduce<unknown>((value, step) => (value as Record<string, unknown> | undefined)?.[step], said));
  const token = found.find((value) => typeof value === 'string');
  if (typeof token === 'string') return token;
  // The first and the last event of a chat carry no text.
  return Array.isArray((said as { choices?: unknown } | null)?.choices) ? '' : `${data}\n`;
}

/** How long the request waited before a replica took it, in milliseconds, and whether a start was part of that. */
export function waited(serverTiming: string | undefined): { ms: number; hasStarted: boolean } | undefined {
  const queue = /\bqueue;dur=([\d.]+)/.exec(serverTiming ?? '');
  return queue ? { ms: Number(queue[1]), hasStarted: /\b(spawn|load);dur=/.test(serverTiming ?? '') } : undefined;
}

/** What an error means and what to do, by who made it (see the header x-greenroom-error-source). */
export function explain(status: number, source: string | undefined, code: string | undefined): string | undefined {
  if (status < 400) return undefined;
  if (source === 'model') return 'The model gave this answer itself; its log has the cause.';
  if (code === 'model_not_ready') return 'The deployment is still being built or loaded: call again when it is active.';
  switch (status) {
    case 401:
      return 'The server does not know the key of this session: sign in again.';
    case 403:
      return 'The key of this session may not call this model.';
    case 404:
      return code === 'model_unavailable'
        ? 'The deployment is inactive: activate it to call it.'
        : 'Nothing can be called there: choose another endpoint.';
    case 413:
      return 'The body is larger than this server takes.';
    case 429:
      return 'Every replica is busy and no more requests may wait. Try again in a moment; more replicas or slots help.';
    case 500:
      return 'No replica took the request in time: none was free, or none became healthy. The log tells of starts that fail.';
    case 502:
      return 'The replica went away while it answered, often for want of memory. The request was not repeated.';
    case 503:
      return 'No replica could be reached just now. Try again in a moment.';
    case 504:
      return 'The model did not begin to answer within its time limit.';
    default:
      return undefined;
  }
}
