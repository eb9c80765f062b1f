// Lengths of time that end now, of which a person chooses one.
export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** By what the address of a page says. */
export const SPANS = {
  '15m': { name: 'Last 15 minutes', ms: 15 * MINUTE_MS },
  '1h': { name: 'Last hour', ms: HOUR_MS },
  '6h': { name: 'Last 6 hours', ms: 6 * HOUR_MS },
  '24h': { name: 'Last 24 hours', ms: DAY_MS },
  '7d': { name: 'Last 7 days', ms: 7 * DAY_MS },
  '30d': { name: 'Last 30 days', ms: 30 * DAY_MS },
} as const;
type SpanId = keyof typeof SPANS;

/** Some of them, as options to choose from. */
export const spans = <Id extends SpanId>(...ids: Id[]) => ids.map((id) => ({ id, ...SPANS[id] }));
