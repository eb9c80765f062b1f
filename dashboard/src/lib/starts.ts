// The starts of replicas: their parts, and how they end.
import type { Schemas } from './api/client';
import type { Tone } from './components/Badge.svelte';
import { formatDuration } from './format';

/** Each part of a start, in the order in which they come. */
export const PHASES: Record<Schemas['StartupPhase'], { name: string; does: string; colour: string }> = {
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

/** The parts of a start with their durations. */
export const startInWords = ({ phase_summary }: Schemas['StartupAttempt']): string =>
  phase_summary
    .map(
      ({ phase, status, duration_ms: ms }) =>
        `${PHASES[phase].name.toLowerCase()} ${status === 'FAILED' || ms == null ? 'failed' : formatDuration(ms)}`,
    )
    .join(', ');
