// What rows show beyond the list of models: read for the rows on screen only, and kept while they are scrolled away.
import { untrack } from 'svelte';
import { SvelteMap } from 'svelte/reactivity';
import { api, ok, type Schemas } from '$lib/api/client';
import { live } from '$lib/resource.svelte';

/** What is known of one model. */
export interface Detail {
  /** Production first. */
  environments: Schemas['Environment'][];
  /** Newest first. */
  deployments: Schemas['Deployment'][];
}

/** How long a list has to rest after scrolling before its new rows are read. */
const REST_MS = 80;
const SHORTEST_INTERVAL_MS = 1000;

/** Details by model, for the models that `visible` names now and those seen before. Call it while the component is being made. */
export function detailsOf(visible: () => string[]): SvelteMap<string, Detail> {
  const known = new SvelteMap<string, Detail>();
  // A model that cannot be read is left as it was: it may be gone, and the list of models is about to say so.
  const readAll = (models: string[]) =>
    Promise.allSettled(models.map(async (model) => known.set(model, await read(model))));

  live(
    ['deployments', 'environments', 'promotions', 'replicas'],
    () => '',
    () => untrack(() => readAll(visible())),
    SHORTEST_INTERVAL_MS,
  );
  $effect(() => {
    const missing = visible().filter((model) => !untrack(() => known.has(model)));
    if (missing.length === 0) return;
    const timer = setTimeout(() => void readAll(missing), REST_MS);
    return () => clearTimeout(timer);
  });
  return known;
}

async function read(model: string): Promise<Detail> {
  const params = { params: { path: { model_id: model } } };
  const [{ environments }, { deployments }] = await Promise.all([
    ok(api.GET('/v1/models/{model_id}/environments', params)),
    ok(api.GET('/v1/models/{model_id}/deployments', params)),
  ]);
  return { environments, deployments };
}
