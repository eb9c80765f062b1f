// What has changed on the server, as it changes. An event carries no data: whoever is told looks again.
import { call } from './api/client';
import { readEvents } from './sse';
import { session } from './session.svelte';

/** What an event may be about. */
export type Topic =
  'deployments' | 'environments' | 'promotions' | 'replicas' | 'keys' | 'secrets' | 'measures' | 'audit';

const TOPICS: Topic[] = [
  'deployments',
  'environments',
  'promotions',
  'replicas',
  'keys',
  'secrets',
  'measures',
  'audit',
];
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 10_000;

/** How often each topic has changed since the page was opened. */
export const changes = $state<Record<Topic, number>>({
  deployments: 0,
  environments: 0,
  promotions: 0,
  replicas: 0,
  keys: 0,
  secrets: 0,
  measures: 0,
  audit: 0,
});

/** Whether the server is being listened to. */
export const connection = $state({ isLive: true });

/** Listens until `signal` aborts; connects again after every interruption. */
export async function listen(signal: AbortSignal): Promise<void> {
  let retryMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    try {
      const response = await call('/v1/events', { signal, headers: { Accept: 'text/event-stream' } });
      if (response.ok && response.body) {
        // What has changed while nobody listened is not known: look at everything again.
        if (!connection.isLive) touch(TOPICS);
        connection.isLive = true;
        retryMs = FIRST_RETRY_MS;
        for await (const event of readEvents(response.body)) {
          if (event.event === 'changed') touch((JSON.parse(event.data) as { topics: Topic[] }).topics);
        }
      }
    } catch {
      // Answered below: by another attempt.
    }
    if (signal.aborted || !session.key) return;
    connection.isLive = false;
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
  }
}

function touch(topics: Topic[]) {
  for (const topic of topics) if (topic in changes) changes[topic] += 1;
}
