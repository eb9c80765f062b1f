// The form of a policy: what it begins with, what is wrong with it, what the server is sent.
import type { Schemas } from '$lib/api/client';
import type { Entry, Policy } from '$lib/policies/words';

export type Type = 'location' | 'flavor';

export interface Draft {
  name: string;
  type: Type;
  /** What is allowed, for either type: nothing is lost by looking at the other. */
  entries: Record<Type, Line[]>;
}

export interface Line {
  key: number;
  type: string;
  name: string;
}

let lastKey = 0;

/** What an entry can be of, the likeliest first, with an example of a name. */
export const KINDS: Record<Type, { value: string; label: string; example: string }[]> = {
  location: [
    { value: 'country', label: 'Country', example: 'us' },
    { value: 'continent', label: 'Continent', example: 'eu' },
    { value: 'location', label: 'Location', example: 'paris' },
  ],
  flavor: [
    { value: 'gpu', label: 'GPU', example: 't4' },
    { value: 'cpu', label: 'CPU', example: 'x86' },
  ],
};

export const emptyLine = (type: Type): Line => line({ type: KINDS[type][0]?.value, name: '' });

const line = ({ type, name }: Entry): Line => ({ key: (lastKey += 1), type: type ?? '', name });

export function draftOf(policy?: Policy): Draft {
  const lines = (type: Type, entries: Entry[] = []) => (entries.length > 0 ? entries.map(line) : [emptyLine(type)]);
  return {
    name: policy?.name ?? '',
    type: policy?.type === 'flavor' ? 'flavor' : 'location',
    entries: { location: lines('location', policy?.locations), flavor: lines('flavor', policy?.flavors) },
  };
}

/** The lines that say something. */
const filled = ({ type, entries }: Draft): Entry[] =>
  entries[type].flatMap((one) => (one.name.trim() ? { type: one.type, name: one.name.trim() } : []));

export const isReady = (draft: Draft): boolean =>
  draft.name !== '' && nameTrouble(draft.name) === undefined && filled(draft).length > 0;

/** What is wrong with a name; nothing when it can be taken. */
export function nameTrouble(name: string): string | undefined {
  if (name.length > 49) return 'At most 49 characters.';
  if (!/^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$/.test(name))
    return 'Lower-case letters, digits and hyphens, and no hyphen at an end.';
}

/** What the server is sent. What a policy is for stays as it was. */
export function requestOf(draft: Draft, before?: Policy): Schemas['PolicyRequest'] {
  const { name, type } = draft;
  const entries = type === 'location' ? { locations: filled(draft) } : { flavors: filled(draft) };
  return { name, type, ...entries, resource_types: before?.resource_types ?? null };
}
