// The starts of replicas: their parts, and the spans of time that they are looked at over.
import type { Schemas } from '$lib/api/client';
import type { Tone } from '$lib/components/Badge.svelte';

type Phase = Schemas['StartupPhase'];

const HOUR_MS = 3_600_000;

/** The spans that a person can choose, by what the address says. */
export const SPANS = [
  { id: '1h', name: 'Last hour', ms: HOUR_MS },
  { id: '24h', name: 'Last 24 hours', ms: 24 * HOUR_MS },
  { id: '7d', name: 'Last 7 days', ms: 7 * 24 * HOUR_MS },
  { id: '30d', name: 'Last 30 days', ms: 30 * 24 * HOUR_MS },
] as const;
export const USUAL_SPAN = SPANS[2];

/** Each part of a start, in the order in which they come. */
export const PHASES: Record<Phase, { name: string; does: string; colour: string }> = {
  SCHEDULING: {
    name: 'Order',
    does: 'from the decision to the order that reaches the machine',
    colour: 'var(--series-5)',
  },
  IMAGE_PULL: { name: 'Image', does: 'pulling an image', colour: 'var(--series-4)' },
  WEIGHT_DOWNLOAD: { name: 'Weights', does: 'downloading weights', colour: 'var(--series-4)' },
  CONTAINER_CREATE: { name: 'Process', does: 'from the order to a running process', colour: 'var(--series-2)' },
  CONTAINER_START: { name: 'Import', does: 'importing the model’s module', colour: 'var(--series-3)' },
  READINESS: { name: 'Load', does: 'construction, load and the first health check', colour: 'var(--series-1)' },
};

export const OUTCOMES: Record<Schemas['StartupOutcome'], { word: string; tone: Tone }> = {
  SUCCESS: { word: 'ready', tone: 'good' },
  FAILED: { word: 'failed', tone: 'bad' },
  STALLED: { word: 'not ready in time', tone: 'warn' },
};

/** One row of the summary. */
export interface Percentiles {
  name: string;
  does: string;
  colour: string;
  of: Schemas['StartupPercentiles'];
}

/** The whole start, then its parts. */
export function rowsOf(summary: Schemas['StartupSummary']): Percentiles[] {
  const whole = { name: 'Whole start', does: 'until the replica is ready', colour: 'var(--accent)' };
  const parts = summary.phase_duration_ms.map(({ phase, duration_ms }) => ({ ...PHASES[phase], of: duration_ms }));
  return [{ ...whole, of: summary.total_duration_ms }, ...parts];
}
