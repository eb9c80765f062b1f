// Usage, summed up in the ways that the page shows it.
import type { Schemas } from '$lib/api/client';
import { formatCount } from '$lib/format';

export type Item = Schemas['DedicatedItem'];
export type Usage = Schemas['DedicatedUsage'];

/** What can be looked at day by day. */
export type Measure = 'minutes' | 'requests' | 'tokens' | 'cost';

/** Bars of one colour: a model, or all that have none of their own. */
export interface Series {
  name: string;
  values: number[];
}

/** There are as many colours as models with bars of their own, and one for the others. */
const MOST_SERIES = 5;

const dollars = new Intl.NumberFormat(undefined, { style: 'currency', currency: 'USD' });

/** A value in its unit. */
export function formatMeasure(measure: Measure, value: number): string {
  switch (measure) {
    case 'minutes':
      return `${formatCount(value)} min`;
    case 'requests':
    case 'tokens':
      return formatCount(value);
    case 'cost':
      return dollars.format(value);
  }
}

/** Requests of everything together. */
export const requestsOf = (usage: Usage): number => sum(usage.breakdown.map((item) => item.inference_requests));

/** Tokens of one thing, both ways. */
export const tokensOf = (one: Pick<Item, 'input_tokens' | 'output_tokens'>): number =>
  (one.input_tokens ?? 0) + (one.output_tokens ?? 0);

/** The breakdown, the most used first. */
export function byUse(usage: Usage): Item[] {
  return [...usage.breakdown].sort((a, b) => b.minutes - a.minutes || b.inference_requests - a.inference_requests);
}

/**
 * The days of each model: the most used by themselves, the others together. The order, and so the colours, are the same whatever is
 * measured.
 */
export function seriesOf(usage: Usage, measure: Measure, days: string[]): Series[] {
  const models = new Map<string, Series & { minutes: number }>();
  for (const { billable_resource: resource, daily, minutes } of usage.breakdown) {
    const id = resource.model_id ?? resource.id;
    const series = models.get(id) ?? { name: resource.model_name ?? id, minutes: 0, values: days.map(() => 0) };
    series.minutes += minutes;
    for (const day of daily) {
      const at = days.indexOf(day.date);
      if (at >= 0) series.values[at] = (series.values[at] ?? 0) + valueOf(measure, day);
    }
    models.set(id, series);
  }
  const sorted = [...models.values()].sort((a, b) => b.minutes - a.minutes || a.name.localeCompare(b.name));
  if (sorted.length <= MOST_SERIES) return sorted;
  const others = sorted.slice(MOST_SERIES - 1);
  const together = days.map((_, at) => sum(others.map((series) => series.values[at] ?? 0)));
  return [...sorted.slice(0, MOST_SERIES - 1), { name: `${others.length} others`, values: together }];
}

/** A round number that no value is above. */
export function ceilingOf(largest: number): number {
  if (largest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((one) => one * power >= largest) ?? 10;
  return step * power;
}

/** The days of everything as a table for a spreadsheet. */
export function toCsv(usage: Usage): string {
  const head =
    'date,model_id,model,deployment_id,deployment,environment,instance_type,deleted,minutes,requests,cost_usd,input_tokens,output_tokens';
  const lines = usage.breakdown.flatMap(({ billable_resource: one, daily }) =>
    daily.map((day) => [
      day.date,
      one.model_id,
      one.model_name,
      one.id,
      one.name,
      one.environment_name,
      one.instance_type,
      one.is_deleted,
      day.minutes,
      day.inference_requests,
      day.subtotal,
      day.input_tokens,
      day.output_tokens,
    ]),
  );
  const sorted = lines.sort((a, b) => String(a[0]).localeCompare(String(b[0])));
  return [head, ...sorted.map((line) => line.map(cell).join(','))].join('\r\n') + '\r\n';
}

export const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);

function valueOf(measure: Measure, day: Schemas['DailyDedicatedUsage']): number {
  switch (measure) {
    case 'minutes':
      return day.minutes;
    case 'requests':
      return day.inference_requests;
    case 'tokens':
      return tokensOf(day);
    case 'cost':
      return day.subtotal;
  }
}

function cell(value: string | number | boolean | null | undefined): string {
  const text = String(value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
