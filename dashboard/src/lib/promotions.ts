// Promotions: reading them, how each goes, and what a roll back would go to.
import { api, ok, type Schemas } from './api/client';
import type { Tone } from './components/Badge.svelte';

export type Promotion = Schemas['Promotion'];

/** The longest list that the server gives. */
export const MOST_PROMOTIONS = 200;

/** The newest promotions of an environment, newest first. */
export async function readPromotions(model: string, environment: string, limit: number): Promise<Promotion[]> {
  const params = { path: { model_id: model, env_name: environment }, query: { limit } };
  return (await ok(api.GET('/v1/models/{model_id}/environments/{env_name}/promotions', { params }))).promotions;
}

/** Whether a promotion goes on; environments still tell of one that has just ended. */
export const isUnderWay = (promotion: { status: Schemas['InProgressPromotionStatus'] } | null | undefined): boolean =>
  promotion != null && !['SUCCEEDED', 'FAILED', 'CANCELED'].includes(promotion.status);

/** How each status is to be taken. */
export const TONES: Record<Schemas['InProgressPromotionStatus'], Tone> = {
  RELEASING: 'busy',
  RAMPING_UP: 'busy',
  RAMPING_DOWN: 'warn',
  PAUSED: 'warn',
  SUCCEEDED: 'good',
  FAILED: 'bad',
  CANCELED: 'idle',
};

export const MODES: Record<Schemas['PromotionMode'], string> = {
  IMMEDIATE: 'at once',
  CANARY: 'canary',
  ROLLING: 'rolling',
};

export const ORIGINS: Record<Schemas['PromotionOrigin'], string> = {
  PUSH: 'from a push',
  REQUEST: 'asked for',
  ROLLBACK: 'roll back',
};

const LEFT: Record<Schemas['PromotionCleanupStrategy'], string> = {
  SCALE_TO_ZERO: 'was scaled to zero',
  KEEP: 'kept running',
  DEACTIVATE: 'was deactivated',
};

/** A deployment by its name, where it is still there. */
export const nameOf = ({ deployment_name: name, deployment_id: id }: Schemas['PromotionSide']): string => name ?? id;

/** Why it is where it is, or what came of it. */
export function outcomeOf(promotion: Promotion): string {
  if (promotion.status !== 'SUCCEEDED') return promotion.error_message ?? promotion.why;
  if (!promotion.previous) return 'It was the first to be served here.';
  const left = `${nameOf(promotion.previous)} ${LEFT[promotion.cleanup_strategy]}`;
  if (promotion.in_place) return `There was no room for both: the previous one ended first, and ${left}.`;
  return `All traffic moved, and ${left}.`;
}

/**
 * The deployment that the environment served before what it serves now: what the server rolls back to
 * (crates/control-plane/src/ops/promotions/served_before.rs). A roll back that succeeded is undone history, so that the next one goes
 * further back; what is gone is passed over.
 */
export function servedBefore(newestFirst: Promotion[], current: string): Schemas['PromotionSide'] | undefined {
  const served: Schemas['PromotionSide'][] = [];
  for (const turn of newestFirst.toReversed()) {
    if (turn.status !== 'SUCCEEDED') continue;
    const { candidate: arrived, previous: left } = turn;
    if (left && served.at(-1)?.deployment_id !== left.deployment_id) served.push(left);
    if (turn.origin === 'ROLLBACK') {
      served.pop();
      const position = served.findLastIndex((one) => one.deployment_id === arrived.deployment_id);
      // Where it is not there, it is a copy of what it goes back to.
      served.splice(position < 0 ? Math.max(served.length - 1, 0) : position);
    }
    served.push(arrived);
  }
  const isThere = (one: Schemas['PromotionSide']) => typeof one.deployment_name === 'string';
  return served.findLast((one) => one.deployment_id !== current && isThere(one));
}
