// The search part of the page's address. Tabs and filters live there, so that links and the back button keep them.
import { searchParams } from 'sv-router';

/** What the address says under `name`; null where it says nothing. Reactive. */
export const searchValue = (name: string): string | null => searchParams.toURLSearchParams().get(name);

/**
 * Changes some of it, at once: one step in the history, or none where nothing changes. Null takes a parameter away. The router's way to
 * navigate would load the page again before, and lose a change that another one overtakes.
 */
export function changeSearch(changes: Record<string, string | null>) {
  let replace = false;
  for (const [name, value] of Object.entries(changes)) {
    if (value === searchValue(name)) continue;
    setValue(name, value, replace);
    replace = true;
  }
}

/** The same for what is typed letter by letter: no step in the history. */
export function replaceSearch(name: string, value: string) {
  setValue(name, value || null, true);
}

function setValue(name: string, value: string | null, replace: boolean) {
  if (value === null) searchParams.delete(name, undefined, { replace });
  else searchParams.set(name, value, { replace });
}
