// What the steps of a promotion say, in sentences.
import type { Schemas } from '$lib/api/client';
import { counted } from '$lib/format';
import { CLEANUP, seconds } from '$lib/settings/words';
import { rollingOf, type PromotionTexts } from '$lib/settings/promotion';
import { canarySteps, immediateSteps, rollingSteps, type RolloutStep } from '$lib/settings/rollout';

/** The steps of a promotion when `total` replicas are in service. */
export function stepsOf(texts: PromotionTexts, total: number, minReplica: number): RolloutStep[] {
  if (texts.mode === 'rolling') return rollingSteps(rollingOf(texts), total);
  return texts.mode === 'canary'
    ? canarySteps(Number(texts.duration) * 1000, total, minReplica)
    : immediateSteps(total);
}

/** The same in sentences. */
export function rolloutInWords(texts: PromotionTexts, total: number, steps: RolloutStep[]): string {
  const most = Math.max(...steps.map(({ candidate, previous }) => candidate + previous));
  const lastsMs = steps.at(-1)?.atMs ?? 0;
  const room = `Together both sides have up to ${counted(most, 'replica')}; ${total} would do without a promotion.`;
  const afterwards = CLEANUP[texts.cleanup as Schemas['PromotionCleanupStrategy']];
  const end = `${afterwards.charAt(0).toUpperCase()}${afterwards.slice(1)}.`;
  return `${howItMoves(texts, steps, lastsMs)} ${room} ${end}`;
}

function howItMoves(texts: PromotionTexts, steps: RolloutStep[], lastsMs: number): string {
  if (texts.mode === 'immediate')
    return 'All traffic moves in one go, once the candidate has the replicas that the load needs.';
  if (texts.mode === 'canary')
    return `Ten stages, ${seconds(lastsMs / 10_000)} apart; the candidate has all traffic after ${seconds(lastsMs / 1000)}.`;
  const shifts = new Set(steps.map(({ percent }) => percent)).size - 1;
  const watched = Number(texts.stabilization) > 0 ? `, each watched for ${seconds(Number(texts.stabilization))}` : '';
  const time = lastsMs > 0 ? ` That takes ${seconds(lastsMs / 1000)}, and the time that replicas take to start.` : '';
  return `${counted(shifts, 'shift')} of traffic${watched}.${time}`;
}
