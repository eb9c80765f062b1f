// Something of the server's that a page shows, read again whenever it may have changed. What was read stays visible meanwhile.
import { ApiError } from './api/client';
import { changes, type Topic } from './events.svelte';

/** At most one read in so long, however fast things change, unless a resource says otherwise. */
const SHORTEST_INTERVAL_MS = 400;

export class Resource<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  /** Whether nothing has been read yet. */
  isLoading = $derived(this.data === undefined && this.error === undefined);

  #load: () => Promise<T>;
  #shortestIntervalMs: number;
  #running = false;
  #nextReadAt = 0;
  #again = false;
  #generation = 0;
  #isOver = false;

  constructor(load: () => Promise<T>, shortestIntervalMs = SHORTEST_INTERVAL_MS) {
    this.#load = load;
    this.#shortestIntervalMs = shortestIntervalMs;
  }

  /** Reads it, now or right after the read that runs. */
  async reload(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    do {
      const tooEarlyMs = this.#nextReadAt - performance.now();
      if (tooEarlyMs > 0) await new Promise((resolve) => setTimeout(resolve, tooEarlyMs));
      if (this.#isOver) break;
      this.#again = false;
      const generation = this.#generation;
      try {
        const data = await this.#load();
        if (generation === this.#generation) {
          this.data = data;
          this.error = undefined;
        }
      } catch (error) {
        if (generation === this.#generation) this.error = asApiError(error);
      }
      if (generation === this.#generation) this.#nextReadAt = performance.now() + this.#shortestIntervalMs;
    } while (this.#again && !this.#isOver);
    this.#running = false;
  }

  /** Forgets what was read, because it is about something else now. */
  forget() {
    this.#generation += 1;
    this.#nextReadAt = 0;
    this.data = undefined;
    this.error = undefined;
  }

  /** Ends it: nothing is read any more. */
  end() {
    this.#isOver = true;
    this.#generation += 1;
  }
}

/**
 * A resource that lives as long as the component which makes it, and is read again when one of `topics` changes. `about` says what it
 * is about (ids, filters): when that changes, what was read before is forgotten. Call it while the component is being made.
 */
export function live<T>(
  topics: Topic[],
  about: () => unknown,
  load: () => Promise<T>,
  shortestIntervalMs?: number,
): Resource<T> {
  const resource = new Resource(load, shortestIntervalMs);
  let before: string | undefined;
  $effect(() => {
    const now = JSON.stringify(about());
    for (const topic of topics) void changes[topic];
    if (before !== undefined && before !== now) resource.forget();
    before = now;
    void resource.reload();
  });
  $effect(() => () => resource.end());
  return resource;
}

/** Any failure as one that can be shown. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(error instanceof Error ? error.message : String(error), 0, 'UNEXPECTED');
}
