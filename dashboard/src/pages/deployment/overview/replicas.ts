// The replicas of a deployment, and how each came to be: those that there are, then those that have ended.
import type { Schemas } from '$lib/api/client';
import type { Tone } from '$lib/components/Badge.svelte';

type Replica = Schemas['Replica'];
type Attempt = Schemas['StartupAttempt'];

export const STATES: Record<Schemas['ReplicaState'], { word: string; tone: Tone }> = {
  READY: { word: 'ready', tone: 'good' },
  LOADING: { word: 'loading', tone: 'busy' },
  STARTING: { word: 'starting', tone: 'busy' },
  UNHEALTHY: { word: 'unhealthy', tone: 'bad' },
  STOPPING: { word: 'stopping', tone: 'warn' },
};

/** How many there are in each state; the first is there even when it is none. */
export function counts(replicas: Replica[]): { word: string; count: number }[] {
  const all = Object.entries(STATES).map(([state, { word }]) => ({
    word,
    count: replicas.filter((one) => one.state === state).length,
  }));
  return all.filter(({ count }, index) => index === 0 || count > 0);
}

/** On what it runs, and at which location once there is a place for it. */
export const whereOf = ({ instance_type, location }: Replica): string =>
  location ? `${instance_type} in ${location}` : instance_type;

/** Whether no other one is ready. */
export const isOnlyReady = ({ id, state }: Replica, replicas: Replica[]): boolean =>
  state === 'READY' && !replicas.some((one) => one.id !== id && one.state === 'READY');

export interface Row {
  id: string;
  orderedAt: number | string;
  /** While it has not ended. */
  replica?: Replica;
  /** How its start went, once that is over. */
  start?: Attempt;
}

/** Newest first. */
export function rows(replicas: Replica[], starts: Attempt[]): Row[] {
  const startOf = new Map(starts.map((start) => [start.replica_id, start]));
  const present = replicas.map((replica) => ({
    id: replica.id,
    orderedAt: replica.created_at,
    replica,
    start: startOf.get(replica.id),
  }));
  const isThere = new Set<unknown>(replicas.map(({ id }) => id));
  const ended = starts.filter((start) => !isThere.has(start.replica_id));
  return [
    ...present.reverse(),
    ...ended.map((start) => ({ id: start.replica_id ?? '', orderedAt: start.started_at_epoch_millis, start })),
  ];
}

/** What tells of the memory of replicas. */
export const MEMORY = 'baseten_container_cpu_memory_working_set_bytes';

/** Bytes by replica, from the newest record of MEMORY. */
export function readMemory({ metric_descriptors, metric_values }: Schemas['GetModelMetricsResponse']) {
  const labels = metric_descriptors.find(({ name }) => name === MEMORY)?.label_sets ?? [];
  const values = metric_values.at(-1)?.values[0] ?? [];
  return new Map(
    labels.flatMap(({ replica }, series) => {
      const bytes = values[series];
      return replica !== undefined && typeof bytes === 'number' ? [[replica, bytes] as const] : [];
    }),
  );
}
