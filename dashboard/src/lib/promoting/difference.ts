// What a promotion changes about what an environment serves, in words.
import type { Schemas } from '../api/client';
import { counted } from '../format';

type Change = Schemas['PromotionChange'];
export type Difference = Schemas['PromotionDifference'];

/** What it is that changes; fields are named as in `config.yaml` and in settings. */
export function fieldOf({ part, field }: Change): string {
  switch (part) {
    case 'CONFIG':
    case 'ENVIRONMENT_VARIABLES':
      return `config ${field}`;
    case 'SCALING':
      return `scaling ${field}`;
    case 'PLACEMENT':
      return 'may run in';
    case 'ARTIFACT':
      return 'what was built';
    case 'INSTANCE_TYPE':
      return 'instance type';
  }
}

export const KINDS: Record<Change['kind'], string> = { ADDED: 'new', REMOVED: 'gone', CHANGED: 'changed' };

export const countOf = ({ changes, left_out }: Difference): number => changes.length + left_out;

export const changesAnything = (difference: Difference): boolean => countOf(difference) > 0;

/** `3 changes`. */
export const countInWords = (difference: Difference): string => counted(countOf(difference), 'change');
