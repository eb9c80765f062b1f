// What the forecast says, in sentences.
import { counted, formatPercent } from '$lib/format';
import { seconds } from '$lib/settings/words';
import type { ScalingNumbers } from '$lib/settings/autoscaling';
import { askedFor, fullAt, perReplicaMilli, sizeAt, type ScaleStep } from './forecast';

/** What a steady load comes to. */
export function forLoad(settings: ScalingNumbers, requests: number): string[] {
  if (requests === 0) return [`No requests ask for ${counted(settings.min_replica, 'replica')}, the minimum.`];
  const {
    concurrency_target: target,
    target_utilization_percentage: percent,
    min_replica: min,
    max_replica: max,
  } = settings;
  const asked = askedFor(settings, requests);
  const verdict =
    asked > max ? `, capped at the maximum of ${max}` : asked < min ? `, and the minimum makes that ${min}` : '';
  const sentences = [
    `${counted(requests, 'request')} at once, with concurrency target ${target} and utilization ${formatPercent(percent)} ` +
      `(${perReplicaMilli(settings) / 1000} for each replica), ${requests === 1 ? 'asks' : 'ask'} for ` +
      `${counted(asked, 'replica')}${verdict}.`,
  ];
  if (asked > max) {
    const each = Math.round((requests / sizeAt(settings, requests)) * 10) / 10;
    sentences.push(
      `The maximum is reached at ${counted(fullAt(settings), 'request')} at once. Here each replica would have ${each}: ` +
        'what finds every replica busy waits, or is refused, as set below.',
    );
  }
  return sentences;
}

/** What becomes of the replicas when nothing comes any more. */
export function afterTraffic(settings: ScalingNumbers, steps: ScaleStep[]): string {
  const { min_replica: min, scale_down_delay: delay } = settings;
  const last = steps.at(-1);
  if (!last || steps.length === 1) return `With no traffic it stays at ${counted(last?.replicas ?? min, 'replica')}.`;
  const end =
    last.replicas === 0
      ? `it goes to zero after ${seconds(Math.round(last.atMs / 1000))}; the next request waits while a replica starts`
      : `${counted(min, 'replica')} ${min === 1 ? 'stays' : 'stay'}`;
  const paces = steps.length > 2 && delay > 0 ? ` Each step waits out the delay of ${seconds(delay)} anew.` : '';
  return `With no traffic ${end}.${paces}`;
}
