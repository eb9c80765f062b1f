// How the statuses of deployments are to be taken.
import type { Schemas } from './api/client';
import type { Tone } from './components/Badge.svelte';
import { counted } from './format';

export type Status = Schemas['DeploymentStatus'];

export const TONES: Record<Status, Tone> = {
  ACTIVE: 'good',
  SCALED_TO_ZERO: 'idle',
  INACTIVE: 'idle',
  BUILDING: 'busy',
  DEPLOYING: 'busy',
  LOADING_MODEL: 'busy',
  UPDATING: 'busy',
  WAKING_UP: 'busy',
  DEACTIVATING: 'warn',
  UNHEALTHY: 'bad',
  BUILD_FAILED: 'bad',
  BUILD_STOPPED: 'warn',
  DEPLOY_FAILED: 'bad',
  FAILED: 'bad',
};

/** Whether somebody has deactivated it. */
export const isResting = (status: Status): boolean => status === 'INACTIVE' || status === 'DEACTIVATING';

/** Why a deployment is as it is, in a sentence. */
export function statusInWords({ status_reason: reason, active_replica_count: ready }: Schemas['Deployment']): string {
  return reason ?? (ready === 0 ? 'No replica is ready.' : `${counted(ready, 'replica')} ready.`);
}
