// Promotion settings as a form, with the server's own bounds (crates/control-plane/src/ops/promotion_settings.rs). What the API
// keeps in two switches and two percentages is one choice of a mode and one of a direction here.
import type { Schemas } from '$lib/api/client';
import { troubleWith, type WholeNumber } from './numbers';
import type { Rolling } from './rollout';

export type PromotionField =
  'mode' | 'duration' | 'direction' | 'step' | 'stabilization' | 'overhead' | 'cleanup' | 'copy';
export type PromotionTexts = Record<PromotionField, string>;
type NumberField = 'duration' | 'step' | 'stabilization' | 'overhead';

export const MODES = [
  {
    value: 'immediate',
    label: 'At once',
    does: 'All traffic moves as soon as the candidate has the replicas that the load needs.',
  },
  {
    value: 'canary',
    label: 'Canary',
    does: 'Traffic moves in ten even stages, each when its time has come and the candidate can carry it.',
  },
  {
    value: 'rolling',
    label: 'Rolling',
    does: 'Replica by replica: traffic follows the replicas. It can be paused, and goes back step by step.',
  },
] as const;

export const DIRECTIONS = [
  { value: 'surge', label: 'Candidate up first', does: 'More replicas than needed for a while; none is missing.' },
  {
    value: 'unavailable',
    label: 'Previous down first',
    does: 'Hardly needs more room; for a while some replicas are missing.',
  },
] as const;

export const CLEANUPS = [
  {
    value: 'SCALE_TO_ZERO',
    label: 'Scale to zero (default)',
    does: 'Its replicas stop; a call to it, or a roll back, starts it again.',
  },
  { value: 'KEEP', label: 'Keep it running', does: 'It keeps its replicas, and what they cost.' },
  { value: 'DEACTIVATE', label: 'Deactivate', does: 'Its replicas stop, and calls to it fail until it is activated.' },
] as const;

export const NUMBERS: Record<NumberField, WholeNumber> = {
  duration: {
    label: 'Canary duration',
    unit: 'seconds',
    does: 'How long the ten stages take together. A candidate that starts slowly makes it longer.',
    usual: 600,
    least: 1,
    most: 86_400,
  },
  step: {
    label: 'Size of a step',
    unit: '% of the replicas',
    does: 'How many replicas are exchanged at a time: this part of them, and always at least one.',
    usual: 10,
    least: 1,
    most: 50,
  },
  stabilization: {
    label: 'Stabilization time',
    unit: 'seconds',
    does: 'How long the candidate is watched after each shift of traffic before the next step.',
    usual: 0,
    least: 0,
    most: 3600,
  },
  overhead: {
    label: 'Head-room',
    unit: '% more replicas',
    does: 'Put on the previous deployment before anything moves, and kept until the end.',
    usual: 0,
    least: 0,
    most: 500,
  },
};

const SHOWN: Record<string, PromotionField[]> = {
  immediate: ['mode', 'cleanup', 'copy'],
  canary: ['mode', 'duration', 'cleanup', 'copy'],
  rolling: ['mode', 'direction', 'step', 'stabilization', 'overhead', 'cleanup', 'copy'],
};

/** Whether the form has the field while traffic moves in this mode. */
export const isShown = (mode: string, field: PromotionField): boolean => SHOWN[mode]?.includes(field) ?? false;

/** How traffic moves by these settings: rolling wins over canary. */
export function modeOf(settings: Schemas['PromotionSettings']): 'immediate' | 'canary' | 'rolling' {
  if (settings.rolling_deploy) return 'rolling';
  return settings.ramp_up_while_promoting ? 'canary' : 'immediate';
}

/** What the form shows of settings. */
export function promotionTexts(settings: Schemas['PromotionSettings']): PromotionTexts {
  const steps = settings.rolling_deploy_config;
  const goesDownFirst = (steps?.max_unavailable_percent ?? 0) > 0;
  return {
    mode: modeOf(settings),
    duration: String(settings.ramp_up_duration_seconds ?? NUMBERS.duration.usual),
    direction: goesDownFirst ? 'unavailable' : 'surge',
    step: String((goesDownFirst ? steps?.max_unavailable_percent : steps?.max_surge_percent) ?? NUMBERS.step.usual),
    stabilization: String(steps?.stabilization_time_seconds ?? NUMBERS.stabilization.usual),
    overhead: String(steps?.replica_overhead_percent ?? NUMBERS.overhead.usual),
    cleanup: settings.promotion_cleanup_strategy ?? 'SCALE_TO_ZERO',
    copy: String(settings.redeploy_on_promotion ?? false),
  };
}

/** What is wrong with what the form shows, by field. */
export function promotionTroubles(texts: PromotionTexts): Partial<PromotionTexts> {
  const troubles: Partial<PromotionTexts> = {};
  for (const field of Object.keys(NUMBERS) as NumberField[]) {
    const trouble = isShown(texts.mode, field) ? troubleWith(NUMBERS[field], texts[field]) : undefined;
    if (trouble) troubles[field] = trouble;
  }
  return troubles;
}

/** What to ask the server for when these fields have changed and `texts` is what the form shows. */
export function promotionChange(
  changed: Partial<PromotionTexts>,
  texts: PromotionTexts,
): Schemas['UpdatePromotionSettings'] {
  const change: Partial<Schemas['UpdatePromotionSettings']> = {};
  if (changed.mode !== undefined) {
    change.rolling_deploy = texts.mode === 'rolling';
    change.ramp_up_while_promoting = texts.mode === 'canary';
  }
  if (changed.duration !== undefined) change.ramp_up_duration_seconds = Number(texts.duration);
  if (changed.cleanup !== undefined)
    change.promotion_cleanup_strategy = texts.cleanup as Schemas['PromotionCleanupStrategy'];
  if (changed.copy !== undefined) change.redeploy_on_promotion = texts.copy === 'true';
  const steps: Partial<Schemas['UpdateRollingDeployConfig']> = {};
  if (changed.direction !== undefined || changed.step !== undefined) {
    // Exactly one of the two may be other than 0, so they go together.
    steps.max_surge_percent = texts.direction === 'surge' ? Number(texts.step) : 0;
    steps.max_unavailable_percent = texts.direction === 'surge' ? 0 : Number(texts.step);
  }
  if (changed.stabilization !== undefined) steps.stabilization_time_seconds = Number(texts.stabilization);
  if (changed.overhead !== undefined) steps.replica_overhead_percent = Number(texts.overhead);
  const whole = Object.keys(steps).length > 0 ? { ...change, rolling_deploy_config: steps } : change;
  // The generated types ask for every field that has a default; the server does not.
  return whole as Schemas['UpdatePromotionSettings'];
}

/** The rolling options that the form shows. */
export const rollingOf = (texts: PromotionTexts): Rolling => ({
  direction: texts.direction === 'surge' ? 'surge' : 'unavailable',
  stepPercent: Number(texts.step),
  stabilizationMs: Number(texts.stabilization) * 1000,
  overheadPercent: Number(texts.overhead),
});
