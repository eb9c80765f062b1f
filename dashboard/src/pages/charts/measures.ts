// Reads what was measured of a deployment, or of whatever was in an environment: over time, in all, and now.
import { api, ok, type Schemas } from '$lib/api/client';
import { MOST_PROMOTIONS, readPromotions as readOf, type Promotion } from '$lib/promotions';
import type { Span } from './range';

/** A deployment or an environment of a model. */
export interface Whose {
  model: string;
  environment?: string;
  deployment?: string;
}

type Labels = Record<string, string>;
type Mode = Schemas['ModelMetricMode'];

/** One series of a metric. */
export interface Found {
  labels: Labels;
  values: (number | null)[];
}

/** The metrics that were asked for and are there, by name. */
export type Metrics = Map<string, Found[]>;

export interface Measures {
  span: Span;
  stepSeconds: number;
  /** The middle of each step, seconds since the epoch. */
  moments: number[];
  series: Metrics;
  /** One value for the whole span. */
  summary: Metrics;
  /** As it is now. */
  current: Metrics;
  starts: Schemas['StartupAttempts'];
}

/** What the API gives at most in a page. */
const MOST_STARTS = 100;

export async function readMeasures(whose: Whose, span: Span, metrics: string[]): Promise<Measures> {
  const window = { start_epoch_millis: span.fromMs, end_epoch_millis: span.toMs };
  const [series, summary, current, starts] = await Promise.all([
    readMetrics(whose, { mode: 'SERIES', ...window, metrics }),
    readMetrics(whose, { mode: 'SUMMARY', ...window, metrics }),
    readMetrics(whose, { mode: 'CURRENT', metrics }),
    readStarts(whose, { ...window, limit: MOST_STARTS }),
  ]);
  const stepSeconds = series.step_seconds ?? (span.toMs - span.fromMs) / 1000;
  return {
    span,
    stepSeconds,
    moments: series.metric_values.map(({ start_epoch_millis: start }) => start / 1000 + stepSeconds / 2),
    series: byName(series),
    summary: byName(summary),
    current: byName(current),
    starts,
  };
}

interface Query {
  mode: Mode;
  start_epoch_millis?: number;
  end_epoch_millis?: number;
  metrics: string[];
}

function readMetrics({ model, environment, deployment }: Whose, query: Query) {
  const answer = deployment
    ? api.GET('/v1/models/{model_id}/deployments/{deployment_id}/metrics', {
        params: { path: { model_id: model, deployment_id: deployment }, query },
      })
    : api.GET('/v1/models/{model_id}/environments/{env_name}/metrics', {
        params: { path: { model_id: model, env_name: environment ?? '' }, query },
      });
  return ok<Schemas['GetModelMetricsResponse']>(answer);
}

function readStarts(
  { model, environment, deployment }: Whose,
  query: { start_epoch_millis: number; end_epoch_millis: number; limit: number },
) {
  const answer = deployment
    ? api.GET('/v1/models/{model_id}/deployments/{deployment_id}/startups', {
        params: { path: { model_id: model, deployment_id: deployment }, query },
      })
    : api.GET('/v1/models/{model_id}/environments/{env_name}/startups', {
        params: { path: { model_id: model, env_name: environment ?? '' }, query },
      });
  return ok<Schemas['StartupAttempts']>(answer);
}

function byName(answer: Schemas['GetModelMetricsResponse']): Metrics {
  return new Map(
    answer.metric_descriptors.map(({ name, label_sets }, metric) => [
      name,
      label_sets.map((labels, one) => ({
        labels,
        values: answer.metric_values.map((step) => step.values[metric]?.[one] ?? null),
      })),
    ]),
  );
}

/** The promotions into the environment, or of the deployment on either side; the oldest first. */
export async function readPromotions({ model, environment, deployment }: Whose): Promise<Promotion[]> {
  const environments = environment
    ? [environment]
    : (
        await ok(api.GET('/v1/models/{model_id}/environments', { params: { path: { model_id: model } } }))
      ).environments.map(({ name }) => name);
  const lists = await Promise.all(environments.map((name) => readOf(model, name, MOST_PROMOTIONS)));
  return lists
    .flat()
    .filter(
      ({ candidate, previous }) =>
        !deployment || candidate.deployment_id === deployment || previous?.deployment_id === deployment,
    )
    .sort((one, other) => Date.parse(one.started_at) - Date.parse(other.started_at));
}
