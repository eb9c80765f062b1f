// Policies, and what they come to, in words.
import type { Schemas } from '$lib/api/client';
import { counted, formatCount } from '$lib/format';

export type Policy = Schemas['Policy'];
export type Entry = Schemas['PolicyEntry'];

const CONTINENTS: Record<string, string> = {
  af: 'Africa',
  an: 'Antarctica',
  as: 'Asia',
  eu: 'Europe',
  na: 'North America',
  oc: 'Oceania',
  sa: 'South America',
};
const countries = new Intl.DisplayNames('en', { type: 'region' });

/** `the location paris`, `United States (us)`, `GPU t4`. */
export function entryInWords({ type, name }: Entry): string {
  switch (type) {
    case 'country':
      return `${countryOf(name)} (${name})`;
    case 'continent':
      return `${CONTINENTS[name.toLowerCase()] ?? 'the continent'} (${name})`;
    case 'location':
      return `the location ${name}`;
    default:
      return `${(type ?? '').toUpperCase()} ${name}`.trim();
  }
}

function countryOf(code: string): string {
  return /^[a-z]{2}$/i.test(code) ? (countries.of(code.toUpperCase()) ?? 'the country') : 'the country';
}

/** What a policy allows, all else being shut out: `North America (na) or the location paris`. */
export function allowsInWords(policy: Pick<Policy, 'type' | 'locations' | 'flavors' | 'max_tokens'>): string {
  const { type, locations, flavors, max_tokens } = policy;
  if (max_tokens) return tokensInWords(max_tokens);
  const entries = (type === 'location' ? locations : flavors) ?? [];
  return entries.map(entryInWords).join(' or ');
}

/** `1,000,000 tokens each day`. */
export function tokensInWords(most: Schemas['MaxTokens']): string {
  const bounds: [number | null | undefined, string][] = [
    [most.input, 'tokens of input'],
    [most.output, 'tokens of output'],
    [most.total, 'tokens'],
    [most.ratio_input_over_output, 'tokens of input for each of output'],
  ];
  const texts = bounds.flatMap(([bound, what]) => (bound ? `${formatCount(bound)} ${what}` : []));
  const step = most.step ?? 1;
  const time = step === 1 ? `each ${most.granularity}` : `every ${step} ${most.granularity}s`;
  return `${texts.join(' and ')} ${time}`;
}

/** What policies of a type are about. */
export const TYPES: Record<string, string> = { location: 'Location', flavor: 'Hardware', maxToken: 'Tokens' };

/** `2 environments, 1 deployment`. */
export function usageInWords({ environments, deployments }: Schemas['PolicyUsage']): string {
  const parts = [environments > 0 && counted(environments, 'environment')];
  parts.push(deployments > 0 && counted(deployments, 'deployment'));
  return parts.filter(Boolean).join(', ') || 'nothing';
}

/** `virginia on GPU t4`. */
export const placeInWords = ({ location, flavor }: Schemas['PlacementCandidate']): string =>
  `${location} on ${entryInWords(flavor)}`;

/** What each step of an explanation looks at. */
const STEPS: Record<string, string> = {
  inventory: 'All there is',
  health: 'Locations that are up',
  environment_locations: 'Location policies of the environment',
  environment_flavors: 'Hardware policies of the environment',
  deployment_locations: 'Location policies of the deployment',
  deployment_flavors: 'Hardware policies of the deployment',
  asked_flavors: 'Hardware that it asks for',
  feasibility: 'Enough of it, with enough memory',
};

export const stepInWords = (step: string): string => STEPS[step] ?? step.replaceAll('_', ' ');

type Explanation = Schemas['ExplainPoliciesResponse'];

/** The steps that say something: the first, and those that went by a policy or took something away. */
export const tellingSteps = ({ steps }: Explanation): Explanation['steps'] =>
  steps.filter(({ step, policies, removed }) => step === 'inventory' || policies.length > 0 || removed.length > 0);

/** Whether any policy had a say. Where none has, nothing is refused, whatever the locations have. */
export const isRestricted = ({ steps }: Explanation): boolean => steps.some(({ policies }) => policies.length > 0);
