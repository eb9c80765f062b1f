// What can be called of a model, and under which address.
import type { Schemas } from '$lib/api/client';
import { deploymentPath, environmentPath, PRODUCTION } from '$lib/endpoints';
import { formatWord } from '$lib/format';

export interface Target {
  /** The part of the path below the model. */
  path: string;
  name: string;
  group: 'Environments' | 'Deployments';
  /** Which deployments may answer, the likeliest first. */
  answerers: string[];
}

/** All of them, stable endpoints first. */
export function targetsOf(environments: Schemas['Environment'][], deployments: Schemas['Deployment'][]): Target[] {
  return [
    ...environments.map(({ name, current_deployment: current, candidate_deployment: candidate }) => ({
      path: environmentPath(name),
      name: current ? `${name} (${current.name})` : `${name} (no deployment yet)`,
      group: 'Environments' as const,
      answerers: [current?.id, candidate?.id].filter((id) => id !== undefined),
    })),
    ...deployments.map(({ id, name, is_development, status }) => ({
      path: is_development ? 'development' : deploymentPath(id),
      name: is_development ? `development (${formatWord(status)})` : `${name} (${formatWord(status)})`,
      group: 'Deployments' as const,
      answerers: [id],
    })),
  ];
}

/** Where a page's own environment or deployment stands among them. */
export function targetOf(targets: Target[], environment?: string, deployment?: string): Target | undefined {
  const own = deployment
    ? targets.find(({ group, answerers }) => group === 'Deployments' && answerers.includes(deployment))
    : targets.find(({ path }) => path === environmentPath(environment ?? PRODUCTION));
  return own ?? targets[0];
}

/** What is called there: the model's predict, or a route that the model's server has itself. */
export interface Route {
  isOwn: boolean;
  method: string;
  /** Below `/sync`, with its query. */
  path: string;
}

export const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

export const methodOf = (route: Route): string => (route.isOwn ? route.method : 'POST');

/** Whether a body goes along. */
export const takesBody = (route: Route): boolean => methodOf(route) !== 'GET';

export function addressOf(model: string, target: Target | undefined, route: Route): string {
  const below = route.isOwn ? `sync/${route.path.replace(/^\/+/, '')}` : 'predict';
  return `/models/${encodeURIComponent(model)}/${target?.path ?? PRODUCTION}/${below}`;
}
