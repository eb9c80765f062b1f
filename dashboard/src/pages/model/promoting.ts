// The form of a promotion: which deployment, and what goes differently from the environment's settings, this time only.
import type { Schemas } from '$lib/api/client';
import { promotionChange, type PromotionField, type PromotionTexts } from '$lib/settings/promotion';
import { formatWord } from '$lib/format';
import { servedBy, type Deployment, type Scene } from './scene';

export interface Choice {
  deployment: string;
  texts: PromotionTexts;
  /** Whether the environment keeps its instance type. */
  keepsInstanceType: boolean;
}

/** What the form begins with: the one that was asked for, or the newest published deployment that the environment does not serve yet. */
export function firstChoice({ deployments }: Scene, current: string | undefined, wanted: string | null): string {
  if (deployments.some((one) => one.id === wanted)) return wanted ?? '';
  const others = deployments.filter((one) => one.id !== current);
  return (others.find((one) => !one.is_development) ?? others[0] ?? deployments[0])?.id ?? '';
}

/** What to ask the server for. */
export function requestFor(choice: Choice, settings: PromotionTexts): Schemas['PromoteToEnvironmentRequest'] {
  const fields = Object.keys(settings) as PromotionField[];
  const changed = fields.filter((field) => choice.texts[field] !== settings[field]);
  const texts: Partial<PromotionTexts> = Object.fromEntries(changed.map((field) => [field, choice.texts[field]]));
  return {
    deployment_id: choice.deployment,
    preserve_env_instance_type: choice.keepsInstanceType,
    promotion_settings_override: changed.length > 0 ? promotionChange(texts, choice.texts) : null,
  };
}

/** A deployment as one of those to choose from. */
export function describe(deployment: Deployment, { places }: Scene): string {
  const serving = servedBy(places, deployment.id);
  const facts = [formatWord(deployment.status), ...(deployment.is_development ? ['development'] : [])];
  if (serving.length > 0) facts.push(`serves ${serving.join(' and ')}`);
  return `${deployment.name} (${facts.join(', ')})`;
}
