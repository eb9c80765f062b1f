// What may be done to a deployment, and why something may not: what the server would answer, known before it is asked.
import type { Schemas } from '$lib/api/client';
import { isUnderWay } from '$lib/promotions';
import type { Status } from '$lib/statuses';

type Deployment = Schemas['Deployment'];
type Environment = Schemas['Environment'];

/** A deployment with what decides about it. */
export interface Situation {
  deployment: Deployment;
  model: Schemas['Model'];
  environments: Environment[];
}

const FAILED: Status[] = ['BUILD_FAILED', 'DEPLOY_FAILED', 'FAILED'];

export const canRetry = ({ status }: Deployment): boolean => FAILED.includes(status);

/** The environments that it serves. */
export const servedBy = ({ deployment, environments }: Situation): Environment[] =>
  environments.filter((one) => one.current_deployment?.id === deployment.id);

/** The environment that it is being promoted to. */
export const promotedTo = ({ deployment, environments }: Situation): Environment | undefined =>
  environments.find((one) => isPromoting(one) && one.candidate_deployment?.id === deployment.id);

const isPromoting = (environment: Environment): boolean => isUnderWay(environment.in_progress_promotion);

/** Why it cannot have another name. */
export function reasonNotToRename({ deployment }: Situation): string | undefined {
  return deployment.is_development ? 'A development deployment keeps its name.' : undefined;
}

/** Why it cannot rest: a promotion needs both of its sides. */
export function reasonNotToDeactivate(situation: Situation): string | undefined {
  const promotion = promotedTo(situation) ?? servedBy(situation).find(isPromoting);
  if (promotion) return `It takes part in the promotion to ${promotion.name}. Cancel the promotion first.`;
}

/** Why it cannot be deleted, and what to do about it. */
export function reasonNotToDelete(situation: Situation): string | undefined {
  const { deployment, model } = situation;
  const [serving] = servedBy(situation);
  if (serving) return `The environment ${serving.name} serves it. Promote another deployment to ${serving.name} first.`;
  const target = promotedTo(situation);
  if (target) return `It is being promoted to ${target.name}. Cancel the promotion first.`;
  if (deployment.is_development)
    return 'It is the development deployment of its model. Push over it, or deactivate it.';
  if (model.deployments_count <= 1) return 'It is the only deployment of its model. Delete the model instead.';
}
