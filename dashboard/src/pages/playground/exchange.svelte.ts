// One call of a model and what comes back, piece by piece.
import { ApiError, call } from '$lib/api/client';
import { asApiError } from '$lib/resource.svelte';
import { readEvents } from '$lib/sse';
import { announcedKind, imageType, isReadable, tokenOf, type BodyKind } from './answers';
import type { Sent } from '$lib/snippets';

/** So often at most is the text that has come shown anew. */
const SHOW_EVERY_MS = 40;

export class Exchange {
  readonly startedAt = Date.now();
  phase = $state<'waiting' | 'receiving' | 'done' | 'canceled' | 'failed'>('waiting');
  status = $state<number>();
  headers = $state.raw<[name: string, value: string][]>([]);
  kind = $state<BodyKind>('unknown');
  /** What has come so far as text. */
  text = $state('');
  /** The tokens of what came as events. */
  tokens = $state('');
  pieces = $state(0);
  size = $state(0);
  firstByteMs = $state<number>();
  totalMs = $state<number>();
  error = $state.raw<ApiError>();
  readonly isRunning = $derived(this.phase === 'waiting' || this.phase === 'receiving');

  #abort = new AbortController();
  #began = performance.now();
  #decoder = new TextDecoder('utf-8', { fatal: true });
  #received: Uint8Array<ArrayBuffer>[] = [];
  #text = '';
  #tokens = '';
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly sent: Sent,
    /** The deployments that may have answered. */
    readonly answerers: string[],
  ) {}

  header(name: string): string | undefined {
    return this.headers.find(([one]) => one === name)?.[1];
  }

  cancel() {
    this.#abort.abort();
  }

  /** All that has come, for a download. */
  get bytes(): Blob {
    return new Blob(this.#received, { type: this.header('content-type') });
  }

  async run(): Promise<void> {
    try {
      await this.#exchange();
      this.phase = 'done';
    } catch (error) {
      if (this.#abort.signal.aborted) this.phase = 'canceled';
      else {
        this.phase = 'failed';
        this.error =
          this.status === undefined
            ? asApiError(error)
            : new ApiError('The answer broke off before it was complete.', 0, 'BROKEN');
      }
    } finally {
      this.totalMs = performance.now() - this.#began;
      this.#show();
    }
  }

  async #exchange() {
    const { method, url, body } = this.sent;
    const headers: HeadersInit = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const response = await call(url, { method, headers, body, signal: this.#abort.signal });
    this.status = response.status;
    this.headers = [...response.headers];
    this.kind = announcedKind(this.header('content-type') ?? '');
    this.phase = 'receiving';
    if (!response.body) return;
    if (this.kind !== 'events') return this.#collect(response.body);
    const [raw, events] = response.body.tee();
    await Promise.all([this.#collect(raw), this.#collectTokens(events)]);
  }

  async #collect(body: ReadableStream<Uint8Array<ArrayBuffer>>) {
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.firstByteMs ??= performance.now() - this.#began;
      this.pieces += 1;
      this.size += value.length;
      this.#received.push(value);
      this.#decode(value);
      this.#timer ??= setTimeout(() => this.#show(), SHOW_EVERY_MS);
    }
    this.firstByteMs ??= performance.now() - this.#began;
    this.#decode();
    if (this.kind === 'unknown') this.kind = 'text';
  }

  async #collectTokens(body: ReadableStream<Uint8Array>) {
    for await (const { data } of readEvents(body)) this.#tokens += tokenOf(data);
  }

  /** Takes bytes as text as long as they are; without any, the end. */
  #decode(bytes?: Uint8Array) {
    if (this.kind === 'image' || this.kind === 'binary') return;
    try {
      const text = bytes ? this.#decoder.decode(bytes, { stream: true }) : this.#decoder.decode();
      if (this.kind === 'unknown' && !isReadable(text)) throw new TypeError('no text');
      this.#text += text;
    } catch {
      this.kind = imageType(this.#received[0] ?? new Uint8Array()) ? 'image' : 'binary';
    }
  }

  #show() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.text = this.#text;
    this.tokens = this.#tokens;
  }
}
