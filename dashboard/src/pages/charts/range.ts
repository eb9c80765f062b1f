// Which span of time the charts show, and how the URL says so: a length up to now, or one between two moments.
import { DAY_MS, HOUR_MS, MINUTE_MS } from '$lib/spans';

/** `stepMs` is the length of the steps in which the server answers, as it records by default. */
export const LENGTHS = [
  { id: '15m', name: '15 min', ms: 15 * MINUTE_MS, stepMs: MINUTE_MS / 2 },
  { id: '1h', name: '1 h', ms: HOUR_MS, stepMs: 1.5 * MINUTE_MS },
  { id: '6h', name: '6 h', ms: 6 * HOUR_MS, stepMs: 9 * MINUTE_MS },
  { id: '24h', name: '24 h', ms: DAY_MS, stepMs: 36 * MINUTE_MS },
  { id: '7d', name: '7 d', ms: 7 * DAY_MS, stepMs: 252 * MINUTE_MS },
] as const;

/** The query parameter, and what it is when it is not there. */
export const PARAMETER = 'range';
export const USUAL = '1h';
/** Less than this is drawn by a slip of the hand. */
const SHORTEST_MS = MINUTE_MS;

export interface Span {
  fromMs: number;
  toMs: number;
}

/** The span that `range` names at `nowMs`. */
export function spanOf(range: string, nowMs: number): Span {
  const [, from, to] = /^(\d{1,15})-(\d{1,15})$/.exec(range) ?? [];
  if (from && to && Number(from) < Number(to)) return { fromMs: Number(from), toMs: Number(to) };
  const { ms, stepMs } = LENGTHS.find(({ id }) => id === range) ?? LENGTHS[1];
  // Steps begin at round times: they stay what they are while time goes on.
  const toMs = Math.ceil(nowMs / stepMs) * stepMs;
  return { fromMs: toMs - ms, toMs };
}

/** The range between two moments, in seconds; none when it is too short to mean anything. */
export function rangeBetween(from: number, to: number): string | undefined {
  const [fromMs, toMs] = [Math.round(from * 1000), Math.round(to * 1000)];
  return toMs - fromMs < SHORTEST_MS ? undefined : `${fromMs}-${toMs}`;
}

/** Whether the range goes up to now, so that there is more to come. */
export const isLength = (range: string): boolean => LENGTHS.some(({ id }) => id === range);
