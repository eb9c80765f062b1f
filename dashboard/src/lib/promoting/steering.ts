// What can be asked of a promotion that is under way, and what then happens: the rules of crates/planner/src/promotion/commands.rs.
import { api, ok, type Schemas } from '$lib/api/client';
import { formatPercent } from '$lib/format';
import { nameOf, type Promotion } from '$lib/promotions';

type Action = Schemas['PromotionAction'];

export interface Steering {
  action: Action;
  /** On the button. */
  name: string;
  /** The question. */
  title: string;
  confirm: string;
  /** What will happen, a sentence each. */
  says: string[];
  isDangerous: boolean;
}

const PATHS = {
  PAUSE: '/v1/models/{model_id}/environments/{env_name}/pause_promotion',
  RESUME: '/v1/models/{model_id}/environments/{env_name}/resume_promotion',
  GRACEFUL_CANCEL: '/v1/models/{model_id}/environments/{env_name}/cancel_promotion',
  FORCE_CANCEL: '/v1/models/{model_id}/environments/{env_name}/force_cancel_promotion',
  FORCE_ROLL_FORWARD: '/v1/models/{model_id}/environments/{env_name}/force_roll_forward_promotion',
} as const;

/** What somebody asked for and no decision has taken up yet. */
export const PENDING: Record<Action, string> = {
  PAUSE: 'A pause has been asked for: it begins when the running step has ended.',
  RESUME: 'Resuming has been asked for, and is about to begin.',
  GRACEFUL_CANCEL: 'Canceling has been asked for, and is about to begin.',
  FORCE_CANCEL: 'Canceling at once has been asked for, and is about to happen.',
  FORCE_ROLL_FORWARD: 'Rolling forward has been asked for, and is about to begin.',
};

/** Asks for it. The answer comes before anything has happened. */
export async function steer(action: Action, model: string, environment: string): Promise<void> {
  await ok<unknown>(api.POST(PATHS[action], { params: { path: { model_id: model, env_name: environment } } }));
}

/** What makes sense to ask now, the gentlest first. */
export function steerings(promotion: Promotion): Steering[] {
  const { status, pending_action: pending, mode } = promotion;
  const isRolling = mode === 'ROLLING';
  const isCanceled = pending === 'GRACEFUL_CANCEL' || pending === 'FORCE_CANCEL';
  const isForward = pending === 'FORCE_ROLL_FORWARD';
  const mayHold = isRolling && !promotion.in_place && !isCanceled && !isForward;
  const isPaused = status === 'PAUSED' || pending === 'PAUSE';
  const found: Steering[] = [];
  if (mayHold && !isPaused && status !== 'RAMPING_DOWN') found.push(pause(promotion));
  if (mayHold && isPaused && pending !== 'RESUME') found.push(resume(promotion));
  if (status !== 'RAMPING_DOWN' && !isCanceled) found.push(cancel(promotion));
  if (isRolling && pending !== 'FORCE_CANCEL') found.push(forceCancel(promotion));
  if (isRolling && !isForward) found.push(rollForward(promotion));
  return found;
}

/** What gets the traffic when the candidate does not. */
const before = (previous: Promotion['previous']): string => (previous ? nameOf(previous) : 'nothing');

const pause = ({ environment }: Promotion): Steering => ({
  action: 'PAUSE',
  name: 'Pause',
  title: `Pause the promotion to ${environment}?`,
  confirm: 'Pause',
  says: [
    'The running step ends first. Then the share stays where it is until somebody resumes it.',
    'Both sides keep serving and scaling meanwhile, and the deadline moves by the length of the pause.',
  ],
  isDangerous: false,
});

const resume = ({ environment, percent_traffic_to_new_version: percent }: Promotion): Steering => ({
  action: 'RESUME',
  name: 'Resume',
  title: `Resume the promotion to ${environment}?`,
  confirm: 'Resume',
  says: [`It goes on from ${formatPercent(percent)}, as if there had been no pause.`],
  isDangerous: false,
});

const rollForward = ({ environment, candidate, previous }: Promotion): Steering => ({
  action: 'FORCE_ROLL_FORWARD',
  name: 'Force roll forward',
  title: `Force ${nameOf(candidate)} into ${environment}?`,
  confirm: 'Force roll forward',
  says: [
    `${nameOf(candidate)} gets all traffic as soon as one of its replicas is ready, and the promotion is done.`,
    `The remaining steps are left out: it may have fewer replicas than the load needs, and requests may wait.`,
    ...(previous ? [`${before(previous)} then ends as if every step had been taken.`] : []),
  ],
  isDangerous: true,
});

function cancel(promotion: Promotion): Steering {
  const { environment, candidate, previous, mode, percent_traffic_to_new_version: percent } = promotion;
  const back =
    mode === 'ROLLING' && percent > 0
      ? `Traffic goes back to ${before(previous)} step by step, as its replicas can carry it.`
      : `All traffic goes back to ${before(previous)} at once; it has its replicas still.`;
  return {
    action: 'GRACEFUL_CANCEL',
    name: 'Cancel',
    title: `Cancel the promotion to ${environment}?`,
    confirm: 'Cancel promotion',
    says: [previous ? back : `${environment} goes on serving nothing.`, afterwards(candidate)],
    isDangerous: false,
  };
}

const forceCancel = ({ environment, candidate, previous }: Promotion): Steering => ({
  action: 'FORCE_CANCEL',
  name: 'Force cancel',
  title: `Cancel the promotion to ${environment} at once?`,
  confirm: 'Force cancel',
  says: [
    `${before(previous)} gets all traffic now, without steps: it may have fewer replicas than the load needs, and requests may wait.`,
    afterwards(candidate),
  ],
  isDangerous: true,
});

const afterwards = (candidate: Schemas['PromotionSide']): string =>
  `${nameOf(candidate)} stays as a deployment without replicas; if it has never been active, it is deactivated.`;
