// What an environment is called by and what may be done to it: what the server would answer, known before it is asked.
import type { Schemas } from '$lib/api/client';

export type Environment = Schemas['Environment'];

/** A change of some of its settings. The generated types ask for all parts, since each has a default; the server does not. */
export type Change = Partial<Schemas['UpdateEnvironmentRequest']>;

/** The environment that every model has. */
export const PRODUCTION = 'production';

const OVER: Schemas['InProgressPromotionStatus'][] = ['SUCCEEDED', 'FAILED', 'CANCELED'];
const RESTING: Schemas['DeploymentStatus'][] = ['INACTIVE', 'DEACTIVATING'];

/** Where the environment is called. */
export function endpointOf({ model_id: model, name }: Environment): string {
  const target = name === PRODUCTION ? PRODUCTION : `environments/${encodeURIComponent(name)}`;
  return `${location.origin}/models/${model}/${target}/predict`;
}

/** Whether a promotion is under way; one that has just ended is still shown for a while. */
export const isBeingPromoted = ({ in_progress_promotion: promotion }: Environment): boolean =>
  promotion !== null && promotion !== undefined && !OVER.includes(promotion.status);

/** Whether what it serves has been deactivated. */
export const isResting = ({ current_deployment: current }: Environment): boolean =>
  current !== null && current !== undefined && RESTING.includes(current.status);

/** Why what it serves cannot be deactivated now. */
export function reasonNotToDeactivate(environment: Environment): string | undefined {
  if (isBeingPromoted(environment)) return 'A promotion is under way and needs both of its sides. Cancel it first.';
}

/** Why it cannot go back to what it served before. */
export function reasonNotToRollBack(environment: Environment): string | undefined {
  if (isBeingPromoted(environment)) return 'A promotion is under way. Cancel it on the page of the model instead.';
  if (!environment.current_deployment) return 'It serves nothing yet.';
}

/** Why it cannot be deleted. */
export function reasonNotToDelete({ name }: Environment): string | undefined {
  if (name === PRODUCTION)
    return 'Every model has a production environment, and it goes only with its model. To stop what it serves, deactivate it.';
}

/** A text as one word of a shell. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
