// The audit log from its newest entry backwards, as far as it has been asked for. Entries never change: what is new goes on top.
import { api, ok, type Schemas } from '$lib/api/client';
import type { Entry } from './events';
import { bounds, isSearch, matches, type Filter } from './filter';

/** How many entries one "Older" is meant to bring. */
const WANTED = 50;
/** How many are looked through for that before a person is asked again. */
const MOST_LOOKED_AT = 2000;
const LARGEST_PAGE = 200;

export class Feed {
  /** What matches, newest first. */
  entries = $state.raw<Entry[]>([]);
  hasOlder = $state(false);

  #filter: Filter;
  #bounds: ReturnType<typeof bounds>;
  /** The ids of all entries that have been looked at, matching or not. */
  #seen = new Set<string>();
  #hasBegun = false;
  #cursor: string | undefined;

  constructor(filter: Filter, nowMs: number) {
    this.#filter = filter;
    this.#bounds = bounds(filter, nowMs);
  }

  /** Reads what has been added since the last look. */
  async readNewer(): Promise<void> {
    if (!this.#hasBegun) return this.readOlder();
    const found: Entry[] = [];
    let cursor: string | undefined;
    do {
      const { items, pagination } = await this.#read(WANTED, cursor);
      const fresh = items.filter((entry) => !this.#seen.has(entry.id));
      found.push(...fresh);
      const goesOn = fresh.length === items.length && pagination.has_more;
      cursor = goesOn ? (pagination.cursor ?? undefined) : undefined;
    } while (cursor);
    this.entries = [...this.#take(found), ...this.entries];
  }

  /** Reads on backwards. */
  async readOlder(): Promise<void> {
    const limit = isSearch(this.#filter) ? LARGEST_PAGE : WANTED;
    let [lookedAt, foundCount] = [0, 0];
    do {
      const { items, pagination } = await this.#read(limit, this.#cursor);
      const found = this.#take(items);
      this.entries = [...this.entries, ...found];
      this.#cursor = pagination.has_more ? (pagination.cursor ?? undefined) : undefined;
      this.#hasBegun = true;
      lookedAt += items.length;
      foundCount += found.length;
    } while (this.#cursor && foundCount < WANTED && lookedAt < MOST_LOOKED_AT);
    this.hasOlder = this.#cursor !== undefined;
  }

  #take(items: Entry[]): Entry[] {
    const fresh = items.filter((entry) => !this.#seen.has(entry.id));
    for (const entry of fresh) this.#seen.add(entry.id);
    return fresh.filter((entry) => matches(this.#filter, entry));
  }

  #read(limit: number, cursor: string | undefined): Promise<Schemas['ListAuditLogsResponse']> {
    const query = { limit, cursor, ...this.#bounds };
    if (this.#filter.model === '') return ok(api.GET('/v1/audit_logs', { params: { query } }));
    const path = { model_id: this.#filter.model };
    return ok(api.GET('/v1/models/{model_id}/audit_logs', { params: { path, query } }));
  }
}
