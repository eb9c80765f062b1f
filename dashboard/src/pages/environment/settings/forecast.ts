// What the autoscaler would do: the rules of crates/planner/src/autoscale (mod.rs and inputs.rs), worked out for a load that has been
// steady for a whole window and then ends. Whole numbers throughout, as there.
import type { ScalingNumbers } from '$lib/settings/autoscaling';

/** Looks in one window while the average moves. */
const LOOKS = 20;
/** Steps after which a preview breaks off. */
const MOST_LOOKS = 20_000;

/** So many replicas from then on, in milliseconds after the last request. */
export interface ScaleStep {
  atMs: number;
  replicas: number;
}

/** Requests that one replica is meant to have, in thousandths. */
export const perReplicaMilli = (settings: ScalingNumbers): number =>
  Math.max(Math.floor((settings.concurrency_target * 1000 * settings.target_utilization_percentage) / 100), 1);

/** Replicas that a steady load of so many requests at once asks for, whatever the bounds. */
export const askedFor = (settings: ScalingNumbers, requests: number): number =>
  Math.ceil((requests * 1000) / perReplicaMilli(settings));

/** The same within the bounds. */
export const sizeAt = (settings: ScalingNumbers, requests: number): number =>
  bounded(settings, askedFor(settings, requests));

/** The smallest number of requests at once that asks for the maximum. */
export const fullAt = (settings: ScalingNumbers): number =>
  Math.floor(((settings.max_replica - 1) * perReplicaMilli(settings)) / 1000) + 1;

/** How the replicas go once the last of so many requests has ended. */
export function descent(settings: ScalingNumbers, requests: number): ScaleStep[] {
  const windowMs = settings.autoscaling_window * 1000;
  const delayMs = settings.scale_down_delay * 1000;
  let replicas = sizeAt(settings, requests);
  const steps: ScaleStep[] = [{ atMs: 0, replicas }];
  let low: { sinceMs: number; most: number } | undefined;
  let nowMs = 0;
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    const averageMilli = Math.floor((requests * 1000 * Math.max(windowMs - nowMs, 0)) / windowMs);
    const asked = Math.ceil(averageMilli / perReplicaMilli(settings));
    // An average that has not yet forgotten does not keep the last replica.
    const desired = bounded(settings, asked <= 1 ? 0 : asked);
    const hasForgotten = nowMs >= windowMs;
    const nextLookMs = hasForgotten ? Infinity : nowMs + windowMs / LOOKS;
    if (desired >= replicas) {
      if (hasForgotten) return steps;
      low = undefined;
      nowMs = nextLookMs;
      continue;
    }
    if (!low) low = { sinceMs: nowMs, most: 0 };
    else low.most = nowMs - low.sinceMs >= windowMs ? Math.max(low.most, desired) : 0;
    const dueMs = low.sinceMs + delayMs;
    if (nowMs < dueMs) {
      nowMs = Math.min(nextLookMs, dueMs);
      continue;
    }
    const largestStep = Math.max(Math.floor((replicas * settings.max_scale_down_rate) / 100), 1);
    replicas = Math.max(desired, low.most, replicas - largestStep);
    steps.push({ atMs: nowMs, replicas });
    low = { sinceMs: nowMs, most: 0 };
    nowMs = Math.min(nextLookMs, nowMs + delayMs);
  }
  return steps;
}

const bounded = (settings: ScalingNumbers, asked: number): number =>
  Math.min(Math.max(asked, settings.min_replica), settings.max_replica);
