// The policies of an environment or of a deployment: reading them, and putting others in their place.
import { api, ok } from '$lib/api/client';

/** What policies are attached to. */
export type Holder = { model_id: string } & ({ env_name: string } | { deployment_id: string });

const OF_ENVIRONMENT = '/v1/models/{model_id}/environments/{env_name}/policies';
const OF_DEPLOYMENT = '/v1/models/{model_id}/deployments/{deployment_id}/policies';

/** Their names, in the order in which they were attached. */
export async function readAttached(path: Holder): Promise<string[]> {
  const { policies } = await ('env_name' in path
    ? ok(api.GET(OF_ENVIRONMENT, { params: { path } }))
    : ok(api.GET(OF_DEPLOYMENT, { params: { path } })));
  return policies;
}

export async function attach(path: Holder, policies: string[]): Promise<void> {
  await ('env_name' in path
    ? ok(api.PUT(OF_ENVIRONMENT, { params: { path }, body: { policies } }))
    : ok(api.PUT(OF_DEPLOYMENT, { params: { path }, body: { policies } })));
}
