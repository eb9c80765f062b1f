// The autoscaling settings as a form, with the server's own bounds (crates/control-plane/src/ops/autoscaling.rs).
import type { Schemas } from '$lib/api/client';
import { troubleWith, type WholeNumber } from './numbers';

type ScalingField = Exclude<keyof Schemas['UpdateAutoscalingSettings'], 'target_in_flight_tokens'>;
export type ScalingNumbers = Record<ScalingField, number>;
type ScalingTexts = Record<ScalingField, string>;

/** The fields, in the order in which one thinks about them. */
export const SCALING: Record<ScalingField, WholeNumber> = {
  min_replica: {
    label: 'Minimum replicas',
    unit: 'replicas',
    does: 'There are never fewer. With 0, the last replica goes when nothing comes, and the next request starts one.',
    usual: 0,
    least: 0,
  },
  max_replica: {
    label: 'Maximum replicas',
    unit: 'replicas',
    does: 'There are never more, whatever the load. The server’s configuration sets the highest value.',
    usual: 1,
    least: 1,
  },
  concurrency_target: {
    label: 'Concurrency target',
    unit: 'requests at once',
    does: 'How many requests one replica is meant to work on at the same time.',
    usual: 1,
    least: 1,
  },
  target_utilization_percentage: {
    label: 'Target utilization',
    unit: '% of the target',
    does: 'How full a replica is planned to be. What is left is room for a sudden rise.',
    usual: 70,
    least: 1,
    most: 100,
  },
  autoscaling_window: {
    label: 'Window',
    unit: 'seconds',
    does: 'The load is averaged over this time. Shorter follows it faster, longer ignores short peaks.',
    usual: 60,
    least: 10,
    most: 3600,
  },
  scale_down_delay: {
    label: 'Scale-down delay',
    unit: 'seconds',
    does: 'The load has to stay low for this long before each step down.',
    usual: 900,
    least: 0,
    most: 3600,
  },
  max_scale_down_rate: {
    label: 'Largest step down',
    unit: '% of the replicas',
    does: 'At most this part of the replicas goes in one step, and always at least one.',
    usual: 50,
    least: 1,
    most: 50,
  },
};

export const SCALING_FIELDS = Object.keys(SCALING) as ScalingField[];

/** What the form shows of settings. */
export function scalingTexts(settings: Schemas['AutoscalingSettings']): ScalingTexts {
  const text = (field: ScalingField) => [field, String(settings[field] ?? SCALING[field].usual)] as const;
  return Object.fromEntries(SCALING_FIELDS.map(text)) as ScalingTexts;
}

/** What is wrong, by field. */
export function scalingTroubles(texts: ScalingTexts): Partial<ScalingTexts> {
  const troubles: Partial<ScalingTexts> = {};
  for (const field of SCALING_FIELDS) {
    const trouble = troubleWith(SCALING[field], texts[field]);
    if (trouble) troubles[field] = trouble;
  }
  if (!troubles.min_replica && !troubles.max_replica && Number(texts.min_replica) > Number(texts.max_replica))
    troubles.min_replica = `This is more than the maximum of ${Number(texts.max_replica)}.`;
  return troubles;
}

/** Texts without troubles, as numbers. */
export const scalingNumbers = (texts: ScalingTexts): ScalingNumbers => asNumbers(texts) as ScalingNumbers;

/** What to ask the server for when these fields have changed. */
export function scalingChange(changed: Partial<ScalingTexts>): Schemas['UpdateAutoscalingSettings'] {
  // The generated types ask for every field that has a default; the server does not.
  return asNumbers(changed) as unknown as Schemas['UpdateAutoscalingSettings'];
}

const asNumbers = (texts: Partial<ScalingTexts>): Partial<ScalingNumbers> =>
  Object.fromEntries(Object.entries(texts).map(([field, text]) => [field, Number(text)]));
