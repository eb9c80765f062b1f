// Which charts there are, and how each is made from what was measured. Pure.
import { isEmpty, type ChartData, type ChartKind, type ChartSeries, type Hue, type Unit } from '$lib/chart';
import { formatDuration } from '$lib/format';
import type { Found, Measures, Metrics } from './measures';
import { BYTES, COUNT, CPUS, SECONDS, SHARE } from './units';

export const REQUESTS = 'baseten_inference_requests_total';
export const RESPONSE_TIME = 'baseten_end_to_end_response_time_seconds';
export const ACTIVE = 'baseten_replicas_active';
export const DESIRED = 'greenroom_replicas_desired';
const STARTING = 'baseten_replicas_starting';
const CONCURRENT = 'baseten_concurrent_requests';
const QUEUED = 'greenroom_queued_requests';

interface Kind {
  title: string;
  /** What one value is, where its unit does not say it. */
  about?: (measures: Measures) => string;
  kind: ChartKind;
  unit: Unit;
  series: (found: Metrics, measures: Measures) => ChartSeries[];
  metrics: string[];
  /** What stands there when nothing is known. */
  empty?: string;
  /** Left out where it never was anything but zero. */
  isRare?: boolean;
}

/** One chart as it is now. */
export interface Charted {
  title: string;
  about: string;
  empty?: string;
  data: ChartData;
}

const NO_REQUESTS = 'No requests in this time';

const quantiles = (title: string, metric: string, unit: Unit, about?: string): Kind => ({
  title,
  about: about === undefined ? undefined : () => about,
  kind: 'lines',
  unit,
  metrics: [metric],
  empty: NO_REQUESTS,
  series: (found) =>
    QUANTILES.map(({ quantile, name, hue }) => ({
      name,
      hue,
      values: found.get(metric)?.find(({ labels }) => labels.quantile === quantile)?.values ?? [],
    })),
});

const QUANTILES: { quantile: string; name: string; hue: Hue }[] = [
  { quantile: '0.5', name: 'p50', hue: 1 },
  { quantile: '0.9', name: 'p90', hue: 2 },
  { quantile: '0.95', name: 'p95', hue: 3 },
  { quantile: '0.99', name: 'p99', hue: 5 },
];

const STATUS_HUES: Record<string, Hue> = { '1xx': 5, '2xx': 1, '3xx': 2, '4xx': 3, '5xx': 4 };

const plain = (
  title: string,
  kind: ChartKind,
  lines: [metric: string, name: string, hue: Hue, isDashed?: boolean][],
): Kind => ({
  title,
  kind,
  unit: COUNT,
  metrics: lines.map(([metric]) => metric),
  series: (found) =>
    lines.map(([metric, name, hue, isDashed]) => ({
      name,
      hue,
      isDashed,
      values: found.get(metric)?.[0]?.values ?? [],
    })),
});

const perReplica = (title: string, metric: string, unit: Unit): Kind => ({
  title,
  about: () => 'by replica',
  kind: 'lines',
  unit,
  metrics: [metric],
  empty: 'No replica was measured in this time',
  series: (found) => replicas(found.get(metric) ?? []),
});

const KINDS: Kind[] = [
  {
    title: 'Requests',
    about: ({ stepSeconds }) => `per ${formatDuration(stepSeconds * 1000)}, by status`,
    kind: 'bars',
    unit: COUNT,
    metrics: [REQUESTS],
    empty: NO_REQUESTS,
    series: (found) => requests(found.get(REQUESTS) ?? []),
  },
  quantiles('Response time', RESPONSE_TIME, SECONDS, 'end to end, waiting and starts included'),
  quantiles('Time to first byte', 'baseten_time_to_first_byte_seconds', SECONDS),
  quantiles('Queue wait', 'greenroom_queue_wait_seconds', SECONDS, 'for a free slot on a replica'),
  plain('Requests at once', 'lines', [
    [CONCURRENT, 'running or waiting', 1],
    [QUEUED, 'waiting', 3],
  ]),
  plain('Replicas', 'steps', [
    [ACTIVE, 'active', 1],
    [STARTING, 'starting', 3],
    [DESIRED, 'desired', 2, true],
  ]),
  {
    ...perReplica('CPU', 'baseten_container_cpu_usage_seconds_total', CPUS),
    about: () => 'processors in use, by replica',
  },
  perReplica('Memory', 'baseten_container_cpu_memory_working_set_bytes', BYTES),
  { ...perReplica('GPU', 'baseten_gpu_utilization', SHARE), isRare: true },
  { ...perReplica('GPU memory', 'baseten_gpu_memory_used', BYTES), isRare: true },
  quantiles('Request size', 'baseten_request_size_bytes', BYTES, 'of bodies that announced it'),
  quantiles('Response size', 'baseten_response_size_bytes', BYTES),
  {
    title: 'Starts of replicas',
    about: ({ starts }) =>
      aboutStarts(
        starts.items.map(({ outcome }) => outcome),
        starts.total_count,
      ),
    kind: 'points',
    unit: SECONDS,
    metrics: [],
    empty: 'No replica was started in this time',
    series: (_, measures) => startsOf(measures),
  },
  { ...plain('Open websockets', 'lines', [['baseten_ongoing_websocket_connections', 'open', 2]]), isRare: true },
  {
    ...plain('Replicas that ended unasked', 'bars', [['baseten_container_restarts_total', 'ends', 4]]),
    isRare: true,
  },
];

/** All metrics that charts need. */
export const METRICS = KINDS.flatMap(({ metrics }) => metrics);

/** The charts of what was measured; empty ones in their places while nothing has been read. */
export function chartsOf(measures: Measures | undefined): Charted[] {
  return KINDS.flatMap(({ title, about, kind, unit, series, empty, isRare }) => {
    const made = measures ? series(measures.series, measures) : [];
    if (isRare && (isEmpty(made) || made.every(({ values }) => values.every((value) => !value)))) return [];
    const { moments = [], span = { fromMs: 0, toMs: 1000 } } = measures ?? {};
    const data = { kind, unit, moments, series: made, from: span.fromMs / 1000, to: span.toMs / 1000 };
    return [{ title, about: measures ? (about?.(measures) ?? '') : '', empty, data }];
  });
}

/** A chart in a sentence: the highest and the newest value of each series. */
export function describe({ title, about, empty, data }: Charted): string {
  if (isEmpty(data.series)) return `${title}: ${(empty ?? 'nothing was recorded').toLowerCase()}`;
  const { format } = data.unit;
  const parts = data.series.map(({ name, values }) => {
    const known = values.filter((value) => value !== null);
    if (known.length === 0) return `${name} unknown`;
    if (data.kind === 'bars') return `${name} ${format(known.reduce((sum, value) => sum + value, 0))} in all`;
    return `${name} at most ${format(Math.max(...known))}, lately ${format(known.at(-1) ?? 0)}`;
  });
  return `${title}${about ? `, ${about}` : ''}: ${parts.join('; ')}`;
}

/** By class of status; nothing at all where there was no request, rather than a row of zeros. */
function requests(found: Found[]): ChartSeries[] {
  const hasAny = found.some(({ values }) => values.some((value) => value));
  return found.map(({ labels, values }) => ({
    name: labels.status ?? '',
    hue: STATUS_HUES[labels.status ?? ''] ?? 5,
    values: hasAny ? values : values.map(() => null),
  }));
}

/** How many lines can still be told apart. */
const MOST_REPLICAS = 4;

/** Each replica while they are few, else the middle and the busiest one: their sum would count those that came one after another. */
function replicas(found: Found[]): ChartSeries[] {
  if (found.length <= MOST_REPLICAS)
    return found.map(({ labels, values }, index) => ({
      name: labels.replica ?? 'all',
      hue: ([1, 2, 3, 5] as const)[index] ?? 1,
      values,
    }));
  const steps = [...(found[0]?.values.keys() ?? [])].map((step) =>
    found
      .map(({ values }) => values[step] ?? null)
      .filter((value) => value !== null)
      .sort((one, other) => one - other),
  );
  return [
    { name: `median of ${found.length} replicas`, hue: 1, values: steps.map((sorted) => middle(sorted)) },
    { name: 'busiest', hue: 3, values: steps.map((sorted) => sorted.at(-1) ?? null) },
  ];
}

/** The median and the longest start of each step, in seconds. */
function startsOf({ starts, moments, stepSeconds }: Measures): ChartSeries[] {
  const begin = (moments[0] ?? 0) - stepSeconds / 2;
  const steps: number[][] = moments.map(() => []);
  for (const { started_at_epoch_millis: at, duration_ms: ms, outcome } of starts.items)
    if (outcome === 'SUCCESS') steps[Math.floor((at / 1000 - begin) / stepSeconds)]?.push(ms / 1000);
  const sorted = steps.map((step) => step.sort((one, other) => one - other));
  return [
    { name: 'longest', hue: 3, values: sorted.map((step) => step.at(-1) ?? null) },
    { name: 'median', hue: 1, values: sorted.map((step) => middle(step)) },
  ];
}

function aboutStarts(outcomes: string[], total: number): string {
  if (total === 0) return '';
  const failed = outcomes.filter((outcome) => outcome !== 'SUCCESS').length;
  const shown = outcomes.length < total ? `the newest ${outcomes.length} of ${total}` : `${total} in all`;
  return failed > 0 ? `${shown}, ${failed} did not become ready` : shown;
}

/** The middle one of ascending values. */
const middle = (sorted: number[]): number | null => sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
