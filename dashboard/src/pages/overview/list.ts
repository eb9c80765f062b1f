// What the list of models shows, and in which order: pure, from what was read.
import type { Schemas } from '$lib/api/client';
import { PRODUCTION } from '$lib/endpoints';
import { isUnderWay } from '$lib/promotions';
import type { Detail } from './details.svelte';

export type Model = Schemas['Model'];
type Deployment = Schemas['Deployment'];

/** What a model has had to do in the last minute, in all its deployments. */
export interface Traffic {
  requestsPerSecond: number;
  failuresPerSecond: number;
}

export const ORDERS = { newest: 'Newest first', name: 'By name', busiest: 'Busiest first' } as const;
export type Order = keyof typeof ORDERS;

/** The order that the URL asks for. */
export const orderOf = (word: string | null): Order => (word !== null && word in ORDERS ? (word as Order) : 'newest');

const IDLE: Traffic = { requestsPerSecond: 0, failuresPerSecond: 0 };

/** Traffic by model. */
export function trafficByModel(activity: Schemas['Activity']): Map<string, Traffic> {
  const traffic = new Map<string, Traffic>();
  for (const one of activity.deployments) {
    const sum = traffic.get(one.model_id) ?? IDLE;
    traffic.set(one.model_id, {
      requestsPerSecond: sum.requestsPerSecond + one.requests_per_second,
      failuresPerSecond: sum.failuresPerSecond + one.failures_per_second,
    });
  }
  return traffic;
}

/** The models in whose name, team or id every word of `query` is found. */
export function matching(models: Model[], query: string): Model[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return models;
  return models.filter((model) => {
    const text = `${model.name} ${model.team_name} ${model.id}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** The models in this order. */
export function ordered(models: Model[], order: Order, traffic: Map<string, Traffic>): Model[] {
  const busyness = (model: Model) => traffic.get(model.id)?.requestsPerSecond ?? 0;
  switch (order) {
    case 'newest':
      return models.toSorted((one, other) => other.created_at.localeCompare(one.created_at));
    case 'name':
      return models.toSorted((one, other) => one.name.localeCompare(other.name));
    case 'busiest':
      return models.toSorted((one, other) => busyness(other) - busyness(one) || one.name.localeCompare(other.name));
  }
}

/** What stands for a model's state: what production serves; while that is nothing, what was pushed last. */
export function leading({ environments, deployments }: Detail): Deployment | undefined {
  const production = environments.find((one) => one.name === PRODUCTION);
  return production?.current_deployment ?? production?.candidate_deployment ?? deployments[0];
}

/** Where else something of the model can be called: its other environments that serve, and its development deployment. */
export function elsewhere({ environments, deployments }: Detail): { place: string; deployment: Deployment }[] {
  const others = environments.flatMap(({ name, current_deployment: deployment }) =>
    name !== PRODUCTION && deployment ? [{ place: name, deployment }] : [],
  );
  const development = deployments.find((one) => one.is_development);
  return development ? [...others, { place: 'development', deployment: development }] : others;
}

/** The promotion to production that is under way. */
export function movingTo({ environments }: Detail): { candidate: string; percent: number } | undefined {
  const production = environments.find((one) => one.name === PRODUCTION);
  const promotion = production?.in_progress_promotion;
  if (!promotion || !isUnderWay(promotion) || !production.current_deployment || !production.candidate_deployment)
    return undefined;
  return { candidate: production.candidate_deployment.name, percent: promotion.percent_traffic_to_new_version };
}

/** Ready replicas of all deployments. */
export const readyReplicas = ({ deployments }: Detail): number =>
  deployments.reduce((sum, one) => sum + one.active_replica_count, 0);

/** When something was last pushed, copied or made; RFC 3339. */
export function lastChange(model: Model, { environments, deployments }: Detail): string {
  const moments = [model, ...environments, ...deployments].map((one) => one.created_at);
  return moments.reduce((latest, one) => (one > latest ? one : latest));
}
