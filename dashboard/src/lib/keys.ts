// What kinds of API keys there are, in words, and what follows when one goes.
import type { Schemas } from './api/client';
import { endpointOf, environmentPath, PRODUCTION } from './endpoints';
import { counted } from './format';
import { nameOf } from './people';
import { toCurl } from './snippets';

export type KeyType = Schemas['APIKeyCategory'];
export type Key = Schemas['APIKeyInfo'];

interface Kind {
  type: KeyType;
  name: string;
  /** What a holder may do. */
  may: string;
  /** What stops when it is deleted. */
  loss: string;
  /** The models it reaches, where it is not limited to some. */
  reach: string;
  canBeLimited: boolean;
  /** Whether it can be limited to environments, and to so many requests a minute. */
  calls?: boolean;
}

/** Least powerful first: the first that will do is the right one. */
export const KINDS: Kind[] = [
  {
    type: 'WORKSPACE_INVOKE',
    name: 'Call models',
    may: 'Calls models and nothing else. For applications.',
    loss: 'Every application that calls models with it is refused (401) from that moment on.',
    reach: 'all, also future ones',
    canBeLimited: true,
    calls: true,
  },
  {
    type: 'WORKSPACE_EXPORT_METRICS',
    name: 'Read metrics',
    may: 'Reads /metrics and nothing else. For Prometheus and the like.',
    loss: 'Whatever reads metrics with it gets none from that moment on.',
    reach: 'all, also future ones',
    canBeLimited: true,
  },
  {
    type: 'WORKSPACE_MANAGE_API_KEYS',
    name: 'Manage keys',
    may: 'Makes and deletes keys that may do no more than itself. For programs that hand out keys.',
    loss: 'Programs that hand out keys with it cannot any more. The keys that they have made stay.',
    reach: 'none',
    canBeLimited: false,
  },
  {
    type: 'WORKSPACE_MANAGE_ALL',
    name: 'Manage a team',
    may: 'Pushes, promotes, calls and deletes models of its team, and makes keys. For CI. It is no person: restricted environments are shut to it.',
    loss: 'Pushes, promotions and scripts that use it are refused (401) from that moment on.',
    reach: 'all of its team',
    canBeLimited: false,
  },
  {
    type: 'PERSONAL',
    name: 'Personal',
    may: 'Does all that its owner may, in their name. For your own machines, and for this dashboard.',
    loss: 'Its owner is signed out wherever it is used: command lines, scripts, this dashboard.',
    reach: 'all',
    canBeLimited: false,
  },
];

/** The kind of a type. */
export function kindOf(type: KeyType): Kind {
  const kind = KINDS.find((one) => one.type === type);
  if (!kind) throw new Error(`there is no key type ${type}`);
  return kind;
}

/** What is wrong with a name; nothing when it can be taken. */
export function nameTrouble(name: string): string | undefined {
  return /^[a-z0-9-]*$/.test(name) ? undefined : 'Only lower-case letters, digits and hyphens.';
}

/** The public part of a key: what stands before its dot. */
export const prefixOf = (plaintext: string): string => plaintext.split('.')[0] ?? '';

/** Whose a key is. */
export function ownerOf(key: Key): string {
  if (key.owner) return nameOf(key.owner);
  return key.team_name ? `Team ${key.team_name}` : '';
}

/** What a key is called: somebody who signs in, by a provider or on a command line, gives theirs no name. */
export const calledOf = (key: Key): string => key.name ?? (key.expires_at ? 'Sign-in' : 'Unnamed');

/** How a key that calls models is limited beyond the models: `only in staging and production`, `at most 600 requests a minute`. */
export function limitsOf({ environment_names: environments, requests_per_minute: most }: Key): string[] {
  const limits = [];
  if (environments)
    limits.push(environments.length > 0 ? `only in ${environments.join(' and ')}` : 'in no environment');
  if (most != null) limits.push(`at most ${counted(most, 'request')} a minute`);
  return limits;
}

/** What is wrong with a number of requests a minute; nothing when it can be taken, or is left out. */
export const rateTrouble = (text: string): string | undefined =>
  text === '' || (/^[0-9]{1,9}$/.test(text) && Number(text) > 0) ? undefined : 'A whole number from 1 on, or nothing.';

/** The names of the models a key is limited to, by id where there is no such model any more; nothing when it may call all. */
export function modelNames(key: Key, models: Schemas['Model'][]): string[] | undefined {
  return key.model_ids?.map((id) => models.find((model) => model.id === id)?.name ?? id);
}

/** Whether nobody could manage anything, this dashboard included, without `key`. */
export function isLastManager(key: Key, keys: Key[]): boolean {
  // A sign-in ends by itself.
  const manages = (one: Key) => !one.expires_at && (one.type === 'PERSONAL' || one.type === 'WORKSPACE_MANAGE_ALL');
  return manages(key) && keys.filter(manages).length === 1;
}

/** A command that shows that a new key works. */
export function trial(type: KeyType, modelId: string | undefined, environment = PRODUCTION): string {
  const { origin } = location;
  if (type === 'WORKSPACE_EXPORT_METRICS') return toCurl({ method: 'GET', url: `${origin}/metrics` });
  if (type === 'WORKSPACE_MANAGE_API_KEYS') return toCurl({ method: 'GET', url: `${origin}/v1/api_keys` });
  if (type !== 'WORKSPACE_INVOKE') return `GREENROOM_URL=${origin} greenroom models`;
  return toCurl({ method: 'POST', url: endpointOf(modelId ?? 'MODEL_ID', environmentPath(environment)), body: '{}' });
}
