// Which page answers which path. Pages load when they are first visited.
import { createRouter } from 'sv-router';
import { tell } from '$lib/toasts.svelte';

/** What every path begins with. */
export const BASE = '/ui';

export const { p, navigate, route } = createRouter({
  '/': () => import('./pages/overview/Overview.svelte'),
  '/models/:model': () => import('./pages/model/Model.svelte'),
  '/models/:model/environments/:environment': () => import('./pages/environment/Environment.svelte'),
  '/models/:model/deployments/:deployment': () => import('./pages/deployment/Deployment.svelte'),
  '/secrets': () => import('./pages/secrets/Secrets.svelte'),
  '/keys': () => import('./pages/keys/Keys.svelte'),
  '/access': () => import('./pages/access/Access.svelte'),
  '/policies': () => import('./pages/policies/Policies.svelte'),
  '/audit': () => import('./pages/audit/Audit.svelte'),
  '/device': () => import('./pages/device/Device.svelte'),
  '/usage': () => import('./pages/usage/Usage.svelte'),
  '*': () => import('./pages/NotFound.svelte'),
  // The files of a page are gone where the server has another version by now.
  hooks: {
    onError: () => tell('This page cannot be loaded. Reload it: the server may be restarting, or be a newer one.'),
  },
});

type Search = Record<string, string>;

export const modelPage = (model: string, search?: Search): string => p('/models/:model', { params: { model }, search });
export const environmentPage = (model: string, environment: string, search?: Search): string =>
  p('/models/:model/environments/:environment', { params: { model, environment }, search });
export const deploymentPage = (model: string, deployment: string, search?: Search): string =>
  p('/models/:model/deployments/:deployment', { params: { model, deployment }, search });
