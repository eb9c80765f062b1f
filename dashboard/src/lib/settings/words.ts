// Settings in a sentence.
import type { Schemas } from '$lib/api/client';
import { counted, formatCount, formatDuration, formatPercent } from '$lib/format';
import { scalingNumbers, scalingTexts } from './autoscaling';
import type { WholeNumber } from './numbers';
import { modeOf, promotionTexts, rollingOf } from './promotion';

/** A whole number of seconds, as a duration. */
export const seconds = (count: number): string => formatDuration(count * 1000);

/** The value of a setting: `15 min`, `70 % of the target`, `3`. */
export function valueInWords({ unit }: WholeNumber, value: number): string {
  if (unit === 'seconds') return seconds(value);
  return unit.startsWith('%') ? `${formatPercent(value)}${unit.slice(1)}` : formatCount(value);
}

/** Autoscaling settings. */
export function scalingInWords(settings: Schemas['AutoscalingSettings']): string {
  const { min_replica, max_replica, concurrency_target, target_utilization_percentage, scale_down_delay } =
    scalingNumbers(scalingTexts(settings));
  const replicas =
    min_replica === max_replica
      ? counted(max_replica, 'replica')
      : `${min_replica} to ${counted(max_replica, 'replica')}`;
  const target = `${counted(concurrency_target, 'request')} at once for each, filled to ${formatPercent(target_utilization_percentage)}`;
  return `${replicas}, ${target}; down after ${seconds(scale_down_delay)} of low load.`;
}

/** Promotion settings. */
export function promotionInWords(settings: Schemas['PromotionSettings']): string {
  const texts = promotionTexts(settings);
  const rolling = rollingOf(texts);
  const how = {
    immediate: 'All traffic at once',
    canary: `Canary in ten stages over ${seconds(Number(texts.duration))}`,
    rolling: `Rolling, ${formatPercent(rolling.stepPercent)} at a time, ${rolling.direction === 'surge' ? 'candidate up first' : 'previous down first'}`,
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
