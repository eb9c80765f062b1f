// The search part of the page's address. Tabs and filters live there, so that links and the back button keep them.
import { searchParams } from 'sv-router';
import { navigate, route } from '../router';

/** What the address says under `name`; null where it says nothing. Reactive. */
export const searchValue = (name: string): string | null => searchParams.toURLSearchParams().get(name);

/** What the address is about to say: a change that comes before the last one has arrived builds on it. */
let pending: URLSearchParams | undefined;

/** Changes some of it: a step in the history. Null takes a parameter away. */
export async function changeSearch(changes: Record<string, string | null>) {
  const next = new URLSearchParams(pending ?? searchParams.toURLSearchParams());
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) next.delete(name);
    else next.set(name, value);
  }
  pending = next;
  try {
    // The page that is shown is one of the router's own.
    await navigate(route.pathname as '/', { search: next.toString(), scrollToTop: false });
  } finally {
    if (pending === next) pending = undefined;
  }
}

/** The same for what is typed letter by letter: no step in the history. */
export function replaceSearch(name: string, value: string) {
  if (value) searchParams.set(name, value, { replace: true });
  else searchParams.delete(name, undefined, { replace: true });
}
