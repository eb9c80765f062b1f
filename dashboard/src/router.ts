// Which page answers which path. Pages load when they are first visited.
import { createRouter } from 'sv-router';

/** What every path begins with. */
export const BASE = '/ui';

export const { p, navigate, isActive, route } = createRouter({
  '/': () => import('./pages/overview/Overview.svelte'),
  '/models/:model': () => import('./pages/model/Model.svelte'),
  '/models/:model/environments/:environment': () => import('./pages/environment/Environment.svelte'),
  '/models/:model/deployments/:deployment': () => import('./pages/deployment/Deployment.svelte'),
  '/secrets': () => import('./pages/secrets/Secrets.svelte'),
  '/keys': () => import('./pages/keys/Keys.svelte'),
  '/access': () => import('./pages/access/Access.svelte'),
  '/audit': () => import('./pages/audit/Audit.svelte'),
  '/usage': () => import('./pages/usage/Usage.svelte'),
  '*': () => import('./pages/NotFound.svelte'),
});
