// The lines of a log that a page shows: the newest ones first, then each new one as it is written.
import { type ApiError, api, ok } from '$lib/api/client';
import { asApiError } from '$lib/resource.svelte';
import { stream } from '$lib/stream';
import { type Filters, LONGEST_WINDOW_MS, toParams, toQuery, windowStart } from './filters';
import { inOrder, type Line, merge, timeOf, toLine } from './lines';

const PAGE = 1000;
/** So many lines are kept: while the end is followed, and while somebody reads further up. */
const MOST_LINES = 10_000;
const MOST_LINES_WHILE_READING = 50_000;
/** Lines that come together are shown together. */
const GATHER_MS = 80;
/** A line may arrive so long after the moment it was written at. */
const LATE_MS = 2000;

export type FollowState = 'loading' | 'live' | 'interrupted' | 'paused' | 'refused';

export class LogFollow {
  lines = $state.raw<Line[]>([]);
  state = $state<FollowState>('loading');
  error = $state.raw<ApiError>();
  /** Whether there may be lines before the first one. */
  hasEarlier = $state(false);
  /** Whether the end of the list is in view, so that what is far above may go. */
  isAtEnd = true;

  #path: { model_id: string; deployment_id: string };
  #filters: Filters;
  #startMs: number;
  #lastId?: string;
  #connection?: AbortController;
  #gathered: Line[] = [];
  #timer?: ReturnType<typeof setTimeout>;
  #isOver = false;

  constructor(model: string, deployment: string, filters: Filters) {
    this.#path = { model_id: model, deployment_id: deployment };
    this.#filters = filters;
    this.#startMs = windowStart(filters, Date.now());
  }

  /** Reads the newest lines, then follows. */
  async begin() {
    this.state = 'loading';
    this.error = undefined;
    try {
      const page = await this.#page();
      this.lines = page;
      this.hasEarlier = page.length >= PAGE;
      if (this.state === 'loading') this.resume();
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** Goes on after the last line that has come. */
  resume() {
    if (this.#isOver) return;
    this.#connection?.abort();
    const connection = (this.#connection = new AbortController());
    this.state = 'interrupted';
    const listener = {
      lastId: this.#lastId,
      opened: () => (this.state = 'live'),
      interrupted: () => (this.state = 'interrupted'),
      event: ({ event, id, data }: { event: string; id?: string; data: string }) => {
        this.#lastId = id ?? this.#lastId;
        if (event === 'log') this.#gather(toLine(JSON.parse(data)));
      },
    };
    stream(() => this.#streamPath(), connection.signal, listener).catch((error: unknown) => {
      if (!connection.signal.aborted) this.#refuse(error);
    });
  }

  /** Nothing comes until `resume`. */
  pause() {
    this.#connection?.abort();
    this.#show();
    this.state = 'paused';
  }

  /** Ends it for good. */
  end() {
    this.#isOver = true;
    this.#connection?.abort();
    clearTimeout(this.#timer);
  }

  /** Reads a page of lines before the first one. */
  async readEarlier() {
    const first = this.lines[0];
    if (!first) return;
    const page = await this.#page(timeOf(first));
    this.lines = merge(this.lines, page);
    // A page that does not reach back is all there is to get: the API counts in milliseconds.
    this.hasEarlier = page.length >= PAGE && timeOf(page[0] ?? first) < timeOf(first);
  }

  async #page(endMs?: number): Promise<Line[]> {
    const query = {
      ...toQuery(this.#filters),
      start_epoch_millis: this.#startMs,
      end_epoch_millis: endMs,
      limit: PAGE,
    };
    const url = '/v1/models/{model_id}/deployments/{deployment_id}/logs';
    const { logs } = await ok(api.GET(url, { params: { path: this.#path, query: { ...query, direction: 'desc' } } }));
    return logs.map(toLine).reverse();
  }

  #streamPath(): string {
    const { model_id, deployment_id } = this.#path;
    const last = this.lines.at(-1);
    // The window of a page that stays open for days must not become longer than the API allows.
    const earliestMs = Date.now() - LONGEST_WINDOW_MS;
    const startMs = Math.max(last ? timeOf(last) - LATE_MS : this.#startMs, earliestMs);
    const params = toParams({ ...toQuery(this.#filters), start_epoch_millis: startMs });
    return `/v1/models/${model_id}/deployments/${deployment_id}/logs/stream?${params}`;
  }

  #gather(line: Line) {
    this.#gathered.push(line);
    this.#timer ??= setTimeout(() => this.#show(), GATHER_MS);
  }

  #show() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#gathered.length === 0) return;
    const lines = merge(this.lines, inOrder(this.#gathered));
    this.#gathered = [];
    const most = this.isAtEnd ? MOST_LINES : MOST_LINES_WHILE_READING;
    if (lines.length > most) this.hasEarlier = true;
    this.lines = lines.slice(-most);
  }

  #refuse(error: unknown) {
    this.error = asApiError(error);
    this.state = 'refused';
  }
}

/** The fields of a query in which a person can write what the server refuses. */
const FREE_FIELDS = ['search_pattern', 'includes', 'excludes'];

/** Which of them an error is about, and what it says of it; undefined where it is about something else. */
export function fieldError(error: ApiError | undefined): { field: string; message: string } | undefined {
  const [, name = '', message = ''] = /^([a-z_]+): ([\s\S]+)$/i.exec(error?.message ?? '') ?? [];
  const field = name.toLowerCase();
  return FREE_FIELDS.includes(field) ? { field, message } : undefined;
}
