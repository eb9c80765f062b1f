// Settings in a sentence.
import type { Schemas } from '$lib/api/client';
import { formatDuration } from '$lib/format';
import type { Environment } from './environment';
import { scalingNumbers, scalingTexts } from './settings/autoscaling';
import { modeOf, promotionTexts, rollingOf } from './promotion';

/** `1 replica`, `3 replicas`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** A whole number of seconds, as a duration. */
export const seconds = (count: number): string => (count === 0 ? '0 s' : formatDuration(count * 1000));

/** How what an environment serves is. */
export function statusInWords({ current_deployment: current }: Environment): string {
  if (!current) return 'Push a model to it, or promote a deployment, to give its endpoint something to serve.';
  const ready = current.active_replica_count;
  return current.status_reason ?? (ready === 0 ? 'No replica is ready.' : `${counted(ready, 'replica')} ready.`);
}

/** Autoscaling settings. */
export function scalingInWords(settings: Schemas['AutoscalingSettings']): string {
  const { min_replica, max_replica, concurrency_target, target_utilization_percentage, scale_down_delay } =
    scalingNumbers(scalingTexts(settings));
  const replicas =
    min_replica === max_replica
      ? counted(max_replica, 'replica')
      : `${min_replica} to ${counted(max_replica, 'replica')}`;
  const target = `${counted(concurrency_target, 'request')} at once for each, filled to ${target_utilization_percentage}\u00a0%`;
  return `${replicas}, ${target}; down after ${seconds(scale_down_delay)} of low load.`;
}

/** Promotion settings. */
export function promotionInWords(settings: Schemas['PromotionSettings']): string {
  const texts = promotionTexts(settings);
  const rolling = rollingOf(texts);
  const how = {
    immediate: 'All traffic at once',
    canary: `Canary in ten stages over ${seconds(Number(texts.duration))}`,
    rolling: `Rolling, ${rolling.stepPercent}\u00a0% at a time, ${rolling.direction === 'surge' ? 'candidate up first' : 'previous down first'}`,
  }[modeOf(settings)];
  return `${how}; ${CLEANUP[settings.promotion_cleanup_strategy ?? 'SCALE_TO_ZERO']}.`;
}

/** What happens to requests in busy times. */
export const backpressureInWords = (settings: Schemas['RequestBackpressureSettings'] | undefined): string =>
  settings?.policy === 'REJECT_ON_FULL' ? 'Requests are refused with 429.' : 'Requests wait for a replica.';

/** What becomes of the previous deployment. */
export const CLEANUP: Record<Schemas['PromotionCleanupStrategy'], string> = {
  SCALE_TO_ZERO: 'afterwards the previous deployment scales to zero',
  KEEP: 'afterwards the previous deployment keeps running',
  DEACTIVATE: 'afterwards the previous deployment is deactivated',
};
