// Which replicas of a deployment run, as far as the API tells.
import type { Schemas } from '$lib/api/client';

type Attempt = Schemas['StartupAttempt'];

/** What the newest record says of replicas. */
export interface Measured {
  starting: number;
  desired: number;
  /** Memory in bytes, by replica. */
  memory: Map<string, number>;
}

const MAY_RUN: Schemas['DeploymentStatus'][] = [
  'DEPLOYING',
  'LOADING_MODEL',
  'ACTIVE',
  'UNHEALTHY',
  'UPDATING',
  'WAKING_UP',
];
/** Records are up to half a minute old: a replica that is younger may not be in the newest one. */
const RECORDED_WITHIN_MS = 60_000;

/** The newest record, from the answer to a question for MEASURES. */
export const MEASURES = [
  'baseten_replicas_starting',
  'greenroom_replicas_desired',
  'baseten_container_cpu_memory_working_set_bytes',
];
export function readMeasured(answer: Schemas['GetModelMetricsResponse']): Measured {
  const values = (name: string) => {
    const place = answer.metric_descriptors.findIndex((one) => one.name === name);
    const labels = answer.metric_descriptors[place]?.label_sets ?? [];
    return labels.map((label, series) => ({
      label,
      value: answer.metric_values.at(-1)?.values[place]?.[series] ?? null,
    }));
  };
  const memory = values('baseten_container_cpu_memory_working_set_bytes').flatMap(({ label, value }) =>
    label.replica !== undefined && value !== null ? [[label.replica, value] as const] : [],
  );
  return {
    starting: values('baseten_replicas_starting')[0]?.value ?? 0,
    desired: values('greenroom_replicas_desired')[0]?.value ?? 0,
    memory: new Map(memory),
  };
}

/** How many start and how many there should be; undefined while the newest record is older than what is ready now. */
export function counts(
  { status, active_replica_count: ready }: Schemas['Deployment'],
  { starting, desired }: Measured,
): { starting: number; desired: number } | undefined {
  if (!MAY_RUN.includes(status)) return { starting: 0, desired: 0 };
  return desired < ready ? undefined : { starting: Math.min(starting, desired - ready), desired };
}

/** The replicas that run: so many of the newest as are ready, without those that a record should have had and has not. */
export function running(starts: Attempt[], ready: number, memory: Map<string, number>, nowMs: number): Set<string> {
  const candidates = starts.filter(({ outcome, replica_id, ready_at_epoch_millis }) => {
    if (outcome !== 'SUCCESS' || typeof replica_id !== 'string') return false;
    return memory.has(replica_id) || nowMs - (ready_at_epoch_millis ?? 0) < RECORDED_WITHIN_MS;
  });
  const newestFirst = candidates.sort((a, b) => b.started_at_epoch_millis - a.started_at_epoch_millis);
  return new Set(newestFirst.slice(0, ready).flatMap(({ replica_id }) => replica_id ?? []));
}
