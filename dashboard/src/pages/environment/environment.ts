// What an environment is called by and what may be done to it: what the server would answer, known before it is asked.
import type { Schemas } from '$lib/api/client';
import { endpointOf, environmentPath, PRODUCTION } from '$lib/endpoints';
import { isUnderWay } from '$lib/promotions';

export type Environment = Schemas['Environment'];

/** A change of some of its settings. The generated types ask for all parts, since each has a default; the server does not. */
export type Change = Partial<Schemas['UpdateEnvironmentRequest']>;

/** Where the environment is called. */
export const addressOf = ({ model_id: model, name }: Environment): string => endpointOf(model, environmentPath(name));

/** Why what it serves cannot be deactivated now. */
export function reasonNotToDeactivate(environment: Environment): string | undefined {
  if (isUnderWay(environment.in_progress_promotion))
    return 'A promotion is under way and needs both of its sides. Cancel it first.';
}

/** Why it cannot be deleted. */
export function reasonNotToDelete({ name }: Environment): string | undefined {
  if (name === PRODUCTION)
    return 'Every model has a production environment, and it goes only with its model. To stop what it serves, deactivate it.';
}
