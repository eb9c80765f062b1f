// The main figures of a span of time. Pure.
import { formatCount, formatDuration, formatPercent } from '$lib/format';
import { ACTIVE, DESIRED, REQUESTS, RESPONSE_TIME } from './catalogue';
import type { Measures, Metrics } from './measures';
import { COUNT } from './units';

export interface Figure {
  name: string;
  value: string;
  note: string;
  isBad?: boolean;
}

const UNKNOWN = '–';

/** Always the same ones in the same order, so that nothing moves when they become known. */
export function figuresOf(measures: Measures | undefined): Figure[] {
  const statuses = new Map(
    measures?.summary.get(REQUESTS)?.map(({ labels, values }) => [labels.status, values[0] ?? 0]),
  );
  const total = [...statuses.values()].reduce((sum, count) => sum + count, 0);
  const failed = statuses.get('5xx') ?? 0;
  const refused = statuses.get('4xx') ?? 0;
  const seconds = measures ? (Math.min(measures.span.toMs, Date.now()) - measures.span.fromMs) / 1000 : 0;
  return [
    {
      name: 'Requests',
      value: measures ? formatCount(total) : UNKNOWN,
      note: total > 0 ? rate(total / seconds) : '',
    },
    {
      name: 'Error rate',
      value: total > 0 ? formatPercent((failed / total) * 100) : UNKNOWN,
      note: total > 0 ? notes(failed, refused) : '',
      isBad: failed > 0,
    },
    ...PERCENTILES.map(({ quantile, name }) => ({
      name,
      value: durationOf(measures?.summary, quantile),
      note: 'response time',
    })),
    {
      name: 'Replicas now',
      value: countOf(measures?.current, ACTIVE),
      note: measures ? `${countOf(measures.current, DESIRED)} desired` : '',
    },
  ];
}

const PERCENTILES = [
  { quantile: '0.5', name: 'p50' },
  { quantile: '0.95', name: 'p95' },
  { quantile: '0.99', name: 'p99' },
];

/** By the second, or by a longer time when that would be less than one. */
function rate(perSecond: number): string {
  if (perSecond >= 1) return `${COUNT.format(perSecond)} a second`;
  return perSecond * 60 >= 1 ? `${COUNT.format(perSecond * 60)} a minute` : `${COUNT.format(perSecond * 3600)} an hour`;
}

/** An error is the server's or the model's own (5xx); what a caller did wrong (4xx) is told beside it. */
const notes = (failed: number, refused: number): string =>
  refused > 0 ? `${formatCount(failed)} of 5xx, ${formatCount(refused)} of 4xx` : `${formatCount(failed)} of 5xx`;

function durationOf(metrics: Metrics | undefined, quantile: string): string {
  const found = metrics?.get(RESPONSE_TIME)?.find(({ labels }) => labels.quantile === quantile);
  const value = found?.values[0] ?? null;
  return value === null ? UNKNOWN : formatDuration(value * 1000);
}

function countOf(metrics: Metrics | undefined, name: string): string {
  const value = metrics?.get(name)?.[0]?.values[0] ?? null;
  return value === null ? UNKNOWN : formatCount(value);
}
