// What a promotion would do when every replica becomes ready at once and the load stays as it is: the rules of
// crates/planner/src/promotion (canary.rs and rolling.rs), in the steps of its plan.rs. The end-to-end story compares both.

/** How a rolling promotion goes. */
export interface Rolling {
  direction: 'surge' | 'unavailable';
  stepPercent: number;
  stabilizationMs: number;
  overheadPercent: number;
}

/** How things are from a moment on, in milliseconds after the candidate's first replica is ready. */
export interface RolloutStep {
  atMs: number;
  /** The candidate's share of the traffic. */
  percent: number;
  candidate: number;
  previous: number;
}

/** All at once. */
export function immediateSteps(total: number): RolloutStep[] {
  const both = { atMs: 0, candidate: total, previous: total };
  return [
    { ...both, percent: 0 },
    { ...both, percent: 100 },
  ];
}

/** Ten even stages. What a stage needs of the candidate is asked for one stage ahead. */
export function canarySteps(durationMs: number, total: number, minReplica: number): RolloutStep[] {
  const needed = (percent: number) => Math.max(percentOf(total, percent), minReplica, 1);
  const stageMs = Math.floor(durationMs / 10);
  const steps: RolloutStep[] = [{ atMs: 0, percent: 0, candidate: Math.max(minReplica, 1), previous: total }];
  for (let stage = 0; stage <= 10; stage += 1) {
    const percent = stage * 10;
    steps.push({
      atMs: stage * stageMs,
      percent,
      candidate: needed(Math.min(percent + 10, 100)),
      previous: total,
    });
  }
  return withoutRepeats(steps);
}

/** Replica by replica: the candidate grows, traffic follows what is ready of it, and the previous side keeps what it then needs. */
export function rollingSteps(rolling: Rolling, total: number): RolloutStep[] {
  const step = Math.max(percentOf(total, rolling.stepPercent), 1);
  const isSurge = rolling.direction === 'surge';
  const whole = total + percentOf(total, rolling.overheadPercent);
  let requested = 1;
  let allowed = whole;
  let nowMs = 0;
  const leftToPrevious = (carried: number) => Math.min(allowed, Math.max(whole - (isSurge ? 0 : step) - carried, 1));
  const steps: RolloutStep[] = [{ atMs: 0, percent: 0, candidate: requested, previous: allowed }];
  for (;;) {
    const ready = requested;
    const percent = share(ready, leftToPrevious(ready));
    steps.push({ atMs: nowMs, percent, candidate: requested, previous: allowed });
    nowMs += rolling.stabilizationMs;
    if (ready >= total) break;
    allowed = leftToPrevious(ready);
    const room = Math.max(whole + (isSurge ? step : 0) - allowed, 0);
    // The last replica of the candidate may come while one of the previous side is still up.
    requested = Math.max(requested, !isSurge && allowed <= 1 ? total : Math.min(total, room));
    steps.push({ atMs: nowMs, percent, candidate: requested, previous: allowed });
    if (requested === ready) break;
  }
  steps.push({ atMs: nowMs, percent: 100, candidate: Math.max(requested, total), previous: allowed });
  return withoutRepeats(steps);
}

/** A percentage of replicas, rounded up. */
const percentOf = (replicas: number, percent: number): number => Math.ceil((replicas * percent) / 100);

/** The candidate's part of all replicas, in percent. While both sides take part, both get something. */
function share(candidate: number, previous: number): number {
  const all = candidate + previous;
  const percent = Math.floor((candidate * 100 + Math.floor(all / 2)) / Math.max(all, 1));
  return Math.min(Math.max(percent, 1), 99);
}

function withoutRepeats(steps: RolloutStep[]): RolloutStep[] {
  return steps.filter((step, index) => {
    const before = steps[index - 1];
    return (
      !before ||
      step.percent !== before.percent ||
      step.candidate !== before.candidate ||
      step.previous !== before.previous
    );
  });
}
