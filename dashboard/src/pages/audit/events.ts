// The deeds that the audit log knows, in words.
import type { Schemas } from '$lib/api/client';
import { formatWord } from '$lib/format';

export type Entry = Schemas['AuditLogEntry'];
type Data = Record<string, unknown>;

/** Deeds that belong together, and what each is called. */
export const GROUPS: { id: string; name: string; types: Record<string, string> }[] = [
  {
    id: 'deployments',
    name: 'Models and deployments',
    types: {
      MODEL_DEPLOYED: 'Deployment pushed',
      MODEL_DEPLOYMENT_PATCH_STAGED: 'Patch sent',
      MODEL_DEPLOYMENT_PATCH_SYNCED: 'Patch applied',
      MODEL_DEPLOYMENT_RENAMED: 'Deployment renamed',
      MODEL_DEPLOYMENT_ACTIVATED: 'Deployment activated',
      MODEL_DEPLOYMENT_DEACTIVATED: 'Deployment deactivated',
      MODEL_DEPLOYMENT_RETRIED: 'Deployment retried',
      MODEL_DEPLOYMENT_DELETED: 'Deployment deleted',
      MODEL_DEPLOYMENT_AUTOSCALING_SETTINGS_CHANGED: 'Autoscaling changed',
      MODEL_DEPLOYMENT_REQUEST_BACKPRESSURE_SETTINGS_CHANGED: 'Behaviour when busy changed',
      REPLICA_TERMINATED: 'Replica terminated',
      MODEL_RENAMED: 'Model renamed',
      MODEL_DELETED: 'Model deleted',
    },
  },
  {
    id: 'promotions',
    name: 'Promotions',
    types: { MODEL_DEPLOYMENT_PROMOTED: 'Deployment promoted', MODEL_PROMOTION_CONTROL_ACTION: 'Promotion steered' },
  },
  {
    id: 'environments',
    name: 'Environments',
    types: {
      ENVIRONMENT_CREATED: 'Environment created',
      ENVIRONMENT_UPDATED: 'Environment changed',
      ENVIRONMENT_DELETED: 'Environment deleted',
      ENVIRONMENT_GROUP_UPDATED: 'Access to environments changed',
      WORKSPACE_SETTINGS_UPDATED: 'Settings of the workspace changed',
    },
  },
  {
    id: 'policies',
    name: 'Policies',
    types: {
      POLICY_CREATED: 'Policy made',
      POLICY_UPDATED: 'Policy changed',
      POLICY_DELETED: 'Policy deleted',
      ENVIRONMENT_POLICIES_CHANGED: 'Policies of environment changed',
      DEPLOYMENT_POLICIES_CHANGED: 'Policies of deployment changed',
    },
  },
  {
    id: 'people',
    name: 'People and teams',
    types: {
      USER_INVITED: 'Person let in',
      USER_JOINED_ORGANIZATION: 'Person came by the identity provider',
      USER_UPDATED: 'Person renamed',
      USER_ROLE_UPDATED: 'Role of person changed',
      USER_REMOVED: 'Person let out',
      TEAM_CREATED: 'Team made',
      TEAM_RENAMED: 'Team renamed',
      TEAM_DELETED: 'Team deleted',
      USER_TEAM_ROLE_UPDATED: 'Taken into a team',
      TEAM_MEMBER_REMOVED: 'Taken out of a team',
      SERVICE_ACCOUNT_CREATED: 'Service account made',
      SERVICE_ACCOUNT_ROTATED: 'Service account given another secret',
      SERVICE_ACCOUNT_DELETED: 'Service account deleted',
    },
  },
  {
    id: 'sign-ins',
    name: 'Sign-ins',
    types: {
      TOKEN_ISSUED: 'Signed in',
      DEVICE_ALLOWED: 'Command line allowed',
      DEVICE_DENIED: 'Command line denied',
    },
  },
  { id: 'keys', name: 'API keys', types: { API_KEY_CREATED: 'API key made', API_KEY_DELETED: 'API key deleted' } },
  { id: 'secrets', name: 'Secrets', types: { SECRET_UPDATED: 'Secret set', SECRET_DELETED: 'Secret deleted' } },
];

const STEERED: Record<string, string> = {
  PAUSE: 'Promotion paused',
  RESUME: 'Promotion resumed',
  GRACEFUL_CANCEL: 'Promotion canceled',
  FORCE_CANCEL: 'Promotion canceled at once',
  FORCE_ROLL_FORWARD: 'Promotion rolled forward at once',
};

/** What was done. */
export function titleOf({ event_type, event_data }: Entry): string {
  const { action, is_restricted } = event_data as Data;
  if (event_type === 'MODEL_PROMOTION_CONTROL_ACTION' && typeof action === 'string' && STEERED[action]) {
    return STEERED[action];
  }
  if (event_type === 'ENVIRONMENT_GROUP_UPDATED')
    return is_restricted ? 'Environments restricted' : 'Environments opened';
  const known = GROUPS.find((group) => event_type in group.types)?.types[event_type];
  const words = formatWord(event_type);
  return known ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** Whether something is gone for good. */
export const isEnd = (entry: Entry): boolean => /_(DELETED|TERMINATED|REMOVED)$/.test(entry.event_type);

/** What it was done to. */
export interface Subject {
  model?: { id: string; name: string };
  deployment?: { id: string; name: string };
  environment?: string;
  /** A secret, a key, a policy, a person, a program or a team. */
  other?: string;
  /** The id of a person or a program that an entry knows by nothing else. */
  somebody?: string;
}

export function subjectOf(entry: Entry): Subject {
  const data = entry.event_data as Data;
  const text = (field: string) => (typeof data[field] === 'string' ? data[field] : undefined);
  const named = (what: string) => {
    const id = text(`${what}_id`);
    return id ? { id, name: text(`${what}_name`) ?? id } : undefined;
  };
  return {
    model: named('model'),
    deployment: named('deployment'),
    environment: text('environment_name'),
    other: text('secret_name') ?? text('prefix') ?? text('policy_name') ?? peopleIn(entry, text),
    somebody: /^(USER|TEAM)_/.test(entry.event_type) && !text('user_name') ? text('user_id') : undefined,
  };
}

/** The name of a person, a program or a team, in an entry that is about one. */
const peopleIn = ({ event_type }: Entry, text: (field: string) => string | undefined): string | undefined =>
  /^(USER|SERVICE_ACCOUNT|TEAM)_/.test(event_type)
    ? (text('user_name') ?? text('service_account_name') ?? text('team_name'))
    : undefined;

/** What a service account has in place of a person's domain. */
const SERVICE = /@service-accounts\.invalid$/;

/** Who did it. */
export function actorOf({ actor }: Entry): { name: string; key?: string } {
  switch (actor.type) {
    case 'USER':
      return { name: actor.email?.replace(SERVICE, '') ?? 'A person' };
    case 'API_KEY':
      return { name: actor.api_key_name ?? 'A key', key: actor.api_key_prefix ?? undefined };
    case 'BASETEN_SYSTEM':
      return { name: 'The platform' };
    case 'TOMBSTONE_USER':
      return { name: actor.email ?? 'A person who has left' };
  }
}
