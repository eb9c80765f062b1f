// All that the page of a model shows, read together so that its parts agree.
import { api, ok, type Schemas } from '$lib/api/client';
import { isUnderWay, readPromotions, type Promotion } from '$lib/promotions';

export type Model = Schemas['Model'];
export type Deployment = Schemas['Deployment'];
export type Activity = Schemas['DeploymentActivity'];

/** An environment with its newest promotion. */
export interface Place {
  environment: Schemas['Environment'];
  promotion?: Promotion;
}

export interface Scene {
  model: Model;
  /** Newest first. */
  deployments: Deployment[];
  /** Production first. */
  places: Place[];
}

export async function readScene(id: string): Promise<Scene> {
  const params = { params: { path: { model_id: id } } };
  const [model, { deployments }, { environments }] = await Promise.all([
    ok(api.GET('/v1/models/{model_id}', params)),
    ok(api.GET('/v1/models/{model_id}/deployments', params)),
    ok(api.GET('/v1/models/{model_id}/environments', params)),
  ]);
  const places = environments.map(async (environment) => {
    const [promotion] = await readPromotions(id, environment.name, 1);
    return { environment, promotion };
  });
  return { model, deployments, places: await Promise.all(places) };
}

/** The environments that serve a deployment. */
export const servedBy = (places: Place[], deployment: string): string[] =>
  places.filter((one) => one.environment.current_deployment?.id === deployment).map((one) => one.environment.name);

/** The environments to which a deployment is being promoted, with its share of their traffic in percent. */
export function comingTo(places: Place[], deployment: string): { environment: string; percent: number }[] {
  return places.flatMap(({ promotion }) =>
    promotion && isUnderWay(promotion) && promotion.candidate.deployment_id === deployment
      ? [{ environment: promotion.environment, percent: promotion.percent_traffic_to_new_version }]
      : [],
  );
}
