// What the playground remembers of a model: what is being written, in this tab's storage, and the calls made since the page was opened.
import { session } from '$lib/session.svelte';
import type { Exchange } from './exchange.svelte';
import type { Route } from './targets';

const MOST_CALLS = 20;

/** What is being written. */
export class Draft {
  /** Undefined until somebody has written something. */
  body = $state<string>();
  route = $state<Route>({ isOwn: false, method: 'POST', path: '' });

  constructor(model: string) {
    const storedAs = `greenroom.playground.${model}`;
    const stored = sessionStorage.getItem(storedAs);
    if (stored) Object.assign(this, JSON.parse(stored) as Pick<Draft, 'body' | 'route'>);
    $effect(() => sessionStorage.setItem(storedAs, JSON.stringify({ body: this.body, route: this.route })));
  }
}

const calls = $state<Record<string, Exchange[]>>({});

// Whoever signs in after somebody else in the same tab does not see what was called before.
const placeOf = (model: string): string => `${session.key} ${model}`;

/** The calls of a model, the newest first. */
export const pastCalls = (model: string): Exchange[] => calls[placeOf(model)] ?? [];

export function remember(model: string, exchange: Exchange) {
  calls[placeOf(model)] = [exchange, ...pastCalls(model)].slice(0, MOST_CALLS);
}
