// What has changed on the server, as it changes. An event carries no data: whoever is told looks again.
import type { ServerEvent } from './sse';
import { stream } from './stream';

/** What an event may be about. */
export type Topic =
  'deployments' | 'environments' | 'promotions' | 'replicas' | 'keys' | 'secrets' | 'measures' | 'audit' | 'locations';

const TOPICS: Topic[] = [
  'deployments',
  'environments',
  'promotions',
  'replicas',
  'keys',
  'secrets',
  'measures',
  'audit',
  'locations',
];

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
  locations: 0,
});

/** Whether the server is being listened to. */
export const connection = $state({ isLive: true });

/** Listens until `signal` aborts; connects again after every interruption. */
export async function listen(signal: AbortSignal): Promise<void> {
  const lost = () => (connection.isLive = false);
  const opened = () => {
    // What has changed while nobody listened is not known: look at everything again.
    if (!connection.isLive) touch(TOPICS);
    connection.isLive = true;
  };
  const event = ({ event, data }: ServerEvent) => {
    if (event === 'changed') touch((JSON.parse(data) as { topics: Topic[] }).topics);
  };
  await stream(() => '/v1/events', signal, { opened, interrupted: lost, event }).catch(lost);
}

function touch(topics: Topic[]) {
  for (const topic of topics) if (topic in changes) changes[topic] += 1;
}
