// The form of a policy: what it begins with, what is wrong with it, what the server is sent.
import type { Schemas } from '$lib/api/client';
import type { Entry, Policy } from '$lib/policies/words';

export type Placement = 'location' | 'flavor';
export type Type = Placement | 'maxToken';

export interface Draft {
  name: string;
  type: Type;
  /** What is allowed, for each type: nothing is lost by looking at another. */
  entries: Record<Placement, Line[]>;
  tokens: TokensDraft;
}

/** Numbers as they are typed. */
export type TokensDraft = Record<Bound | 'step', string> & { granularity: string };

type Bound = 'input' | 'output' | 'total' | 'ratio_input_over_output';

export const BOUNDS: { field: Bound; label: string }[] = [
  { field: 'total', label: 'Tokens' },
  { field: 'input', label: 'Tokens of input' },
  { field: 'output', label: 'Tokens of output' },
  { field: 'ratio_input_over_output', label: 'Input for each of output' },
];
export const UNITS = ['minute', 'hour', 'day', 'month'];

export interface Line {
  key: number;
  type: string;
  name: string;
}

let lastKey = 0;

/** What an entry can be of, the likeliest first, with an example of a name. */
export const KINDS: Record<Placement, { value: string; label: string; example: string }[]> = {
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

export const emptyLine = (type: Placement): Line => line({ type: KINDS[type][0]?.value, name: '' });

const line = ({ type, name }: Entry): Line => ({ key: (lastKey += 1), type: type ?? '', name });

export function draftOf(policy?: Policy): Draft {
  const lines = (type: Placement, entries: Entry[] = []) =>
    entries.length > 0 ? entries.map(line) : [emptyLine(type)];
  return {
    name: policy?.name ?? '',
    type: policy?.type === 'flavor' || policy?.type === 'maxToken' ? policy.type : 'location',
    entries: { location: lines('location', policy?.locations), flavor: lines('flavor', policy?.flavors) },
    tokens: tokensOf(policy?.max_tokens),
  };
}

function tokensOf(most?: Schemas['MaxTokens'] | null): TokensDraft {
  const text = (number?: number | null) => (number ? String(number) : '');
  return {
    input: text(most?.input),
    output: text(most?.output),
    total: text(most?.total),
    ratio_input_over_output: text(most?.ratio_input_over_output),
    step: text(most?.step ?? 1),
    granularity: most?.granularity ?? 'day',
  };
}

/** The lines that say something. */
const filled = (lines: Line[]): Entry[] =>
  lines.flatMap((one) => (one.name.trim() ? { type: one.type, name: one.name.trim() } : []));

export const isReady = (draft: Draft): boolean =>
  draft.name !== '' && nameTrouble(draft.name) === undefined && saysSomething(draft);

function saysSomething({ type, entries, tokens }: Draft): boolean {
  if (type !== 'maxToken') return filled(entries[type]).length > 0;
  const isBounded = BOUNDS.some(({ field }) => numberOf(tokens[field]) > 0);
  const isSound = [...BOUNDS.map(({ field }) => field), 'step' as const].every(
    (field) => numberTrouble(tokens[field]) === undefined,
  );
  return isBounded && isSound && numberOf(tokens.step) > 0;
}

const numberOf = (text: string): number => Number(text.trim() || 0);

/** What is wrong with a number; nothing when it can be taken, or is not there. */
export function numberTrouble(text: string): string | undefined {
  if (!/^\d{0,15}$/.test(text.trim())) return 'A whole number.';
}

/** What is wrong with a name; nothing when it can be taken. */
export function nameTrouble(name: string): string | undefined {
  if (name.length > 49) return 'At most 49 characters.';
  if (!/^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$/.test(name))
    return 'Lower-case letters, digits and hyphens, and no hyphen at an end.';
}

/** What the server is sent. What a policy is for stays as it was. */
export function requestOf(draft: Draft, before?: Policy): Schemas['PolicyRequest'] {
  const { name, type } = draft;
  return { name, type, ...ruleOf(draft), resource_types: before?.resource_types ?? null };
}

function ruleOf({ type, entries, tokens }: Draft): Partial<Schemas['PolicyRequest']> {
  switch (type) {
    case 'location':
      return { locations: filled(entries.location) };
    case 'flavor':
      return { flavors: filled(entries.flavor) };
    case 'maxToken': {
      const bounds = BOUNDS.map(({ field }) => [field, numberOf(tokens[field]) || null]);
      const { granularity } = tokens;
      return { max_tokens: { granularity, step: numberOf(tokens.step), ...Object.fromEntries(bounds) } };
    }
  }
}
