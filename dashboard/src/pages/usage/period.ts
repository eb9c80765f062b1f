// Which days of usage are looked at, as the address of the page says it. Days are UTC's, as they are counted.
import { DAY_MS } from '$lib/spans';

/** The longest period that the server sums up. */
const MOST_DAYS = 31;

export const PERIODS = [
  { id: 'month', name: 'This month' },
  { id: 'last-month', name: 'Last month' },
  { id: '7d', name: 'Last 7 days' },
  { id: '30d', name: 'Last 30 days' },
  { id: 'own', name: 'From … to …' },
] as const;

export type PeriodId = (typeof PERIODS)[number]['id'];

/** Days from the first to the last, both counted: `YYYY-MM-DD`. */
export interface Period {
  from: string;
  to: string;
}

export const readPeriodId = (text: string | null): PeriodId =>
  PERIODS.find((period) => period.id === text)?.id ?? 'month';

/** The days of a period; own ones as they are given. */
export function periodOf(id: PeriodId, own: Period, nowMs: number): Period {
  const now = new Date(nowMs);
  const month = (offset: number, day: number) => Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset, day);
  switch (id) {
    case 'month':
      return { from: dayOf(month(0, 1)), to: dayOf(nowMs) };
    case 'last-month':
      return { from: dayOf(month(-1, 1)), to: dayOf(month(0, 0)) };
    case '7d':
      return { from: dayOf(nowMs - 6 * DAY_MS), to: dayOf(nowMs) };
    case '30d':
      return { from: dayOf(nowMs - 29 * DAY_MS), to: dayOf(nowMs) };
    case 'own':
      return own;
  }
}

/** What is wrong with a period; nothing when it can be asked for. */
export function periodTrouble({ from, to }: Period): string | undefined {
  const [first, last] = [Date.parse(from), Date.parse(to)];
  if (Number.isNaN(first) || Number.isNaN(last)) return 'Choose a first and a last day.';
  if (first > last) return 'The last day is before the first.';
  if (last - first >= MOST_DAYS * DAY_MS) return `At most ${MOST_DAYS} days can be looked at together.`;
  return undefined;
}

/** All its days. */
export function daysOf({ from, to }: Period): string[] {
  const days: string[] = [];
  for (let at = Date.parse(from); at <= Date.parse(to); at += DAY_MS) days.push(dayOf(at));
  return days;
}

/** The day after, where the server's periods end. */
export const dayAfter = (day: string): string => dayOf(Date.parse(day) + DAY_MS);

const short = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });
const long = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeZone: 'UTC' });

/** `30 Nov`. */
export const formatDay = (day: string): string => short.format(Date.parse(day));
/** `Monday, 30 November 2026`. */
export const formatFullDay = (day: string): string => long.format(Date.parse(day));

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
