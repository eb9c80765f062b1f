// The public API, typed by its own description. Every failure is an ApiError with a sentence for people.
import createClient from 'openapi-fetch';
import { session } from '../session.svelte';
import type { components, paths } from './schema';

/** The schemas of the API, by name. */
export type Schemas = components['schemas'];

/** Why a call did not give what it was asked for. */
export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 when no answer came. */
    readonly status: number,
    /** The API's code, such as NOT_FOUND. */
    readonly code: string,
    /** The id under which the server's log knows the request. */
    readonly requestId?: string,
  ) {
    super(message);
  }
}

/** The client. Answers go through `ok`. */
export const api = createClient<paths>({ baseUrl: '/', fetch: (request: Request) => call(request) });

/** The data of an answer; throws an ApiError for everything else. */
export async function ok<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (response.ok) return data as T;
  throw failure(response, error);
}

/** `fetch` with the caller's key. A key that the server no longer takes ends the session. */
export async function call(request: Request | string, init?: RequestInit): Promise<Response> {
  const keyed = new Request(request, init);
  const isManaging = new URL(keyed.url).pathname.startsWith('/v1/');
  if (session.key) keyed.headers.set('Authorization', `Bearer ${session.key}`);
  // The audit log tells what was done here from what programs do with the same key.
  if (isManaging) keyed.headers.set('X-Greenroom-Client', 'dashboard');
  let response: Response;
  try {
    response = await fetch(keyed);
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new ApiError('The server does not answer. It may be restarting.', 0, 'UNREACHABLE');
  }
  if (response.status === 401 && isManaging) session.expire(keyed);
  return response;
}

/** What an answer outside 200 to 299 says of itself, whichever of the API's shapes it has. */
export function failure(response: Response, body: unknown): ApiError {
  const said = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const text = [said.message, said.error, body].find((one) => typeof one === 'string' && one !== '');
  const message = typeof text === 'string' ? sentence(text) : `The server answered ${response.status}.`;
  const code = typeof said.code === 'string' ? said.code : String(response.status);
  return new ApiError(message, response.status, code, response.headers.get('x-baseten-request-id') ?? undefined);
}

function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
