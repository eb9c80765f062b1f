// Server-sent events that go on after an interruption where they were.
import { ApiError, call, failure } from './api/client';
import { readEvents, type ServerEvent } from './sse';

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

export interface Listener {
  /** A connection stands. */
  opened: () => void;
  /** It was lost; another attempt follows. */
  interrupted: () => void;
  event: (event: ServerEvent) => void;
  /** The id of the last event that was seen before, to go on after it. */
  lastId?: string;
}

/** Tells `listener` what comes from `path` (asked for before each attempt) until `signal` aborts. Throws an ApiError when the server refuses. */
export async function stream(path: () => string, signal: AbortSignal, listener: Listener): Promise<void> {
  let retryMs = FIRST_RETRY_MS;
  let lastId = listener.lastId;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (lastId !== undefined) headers['Last-Event-ID'] = lastId;
      const response = await call(path(), { signal, headers });
      if (!response.ok || !response.body) {
        throw failure(response, await response.json().catch(() => undefined));
      }
      listener.opened();
      retryMs = FIRST_RETRY_MS;
      for await (const event of readEvents(response.body)) {
        lastId = event.id ?? lastId;
        listener.event(event);
      }
    } catch (error) {
      const isFinal = error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
      if (isFinal && !signal.aborted) throw error;
    }
    if (signal.aborted) return;
    listener.interrupted();
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
  }
}
