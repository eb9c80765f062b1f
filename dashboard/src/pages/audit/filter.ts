// Which entries of the audit log are looked at, as the address of the page says it.
import { spans } from '$lib/spans';
import { GROUPS, type Entry } from './events';

export const PERIODS = spans('1h', '24h', '7d', '30d');

export interface Filter {
  /** A group of deeds, or the type of one. */
  event: string;
  /** `user:ADDRESS`, `key:PREFIX` or `system`. */
  actor: string;
  /** The id of a model. */
  model: string;
  /** One of the periods, or `own`. */
  period: string;
  /** For an own period: from and to, as a field for date and time writes it in the viewer's zone. */
  from: string;
  to: string;
}

export const FIELDS = ['event', 'actor', 'model', 'period', 'from', 'to'] as const satisfies (keyof Filter)[];

/** The filter in an address; empty fields let everything through. */
export function readFilter(value: (name: string) => string | null): Filter {
  const [event, actor, model, period, from, to] = FIELDS.map((field) => value(field) ?? '');
  return { event, actor, model, period, from, to } as Filter;
}

export const isFiltered = (filter: Filter): boolean => FIELDS.some((field) => filter[field] !== '');

/** What the server is asked to look at. */
export function bounds(filter: Filter, nowMs: number): { start_epoch_millis?: number; end_epoch_millis?: number } {
  if (filter.period === 'own') {
    return { start_epoch_millis: moment(filter.from), end_epoch_millis: moment(filter.to) };
  }
  const period = PERIODS.find((one) => one.id === filter.period);
  return period ? { start_epoch_millis: nowMs - period.ms } : {};
}

/** What is looked for in it: the server cannot be asked for deeds or actors. */
export function matches(filter: Filter, entry: Entry): boolean {
  return isEvent(filter.event, entry) && isActor(filter.actor, entry);
}

/** Whether entries that the server gives may have to be passed over. */
export const isSearch = (filter: Filter): boolean => filter.event !== '' || filter.actor !== '';

function isEvent(wanted: string, entry: Entry): boolean {
  const group = GROUPS.find((one) => one.id === wanted);
  return wanted === '' || (group ? entry.event_type in group.types : entry.event_type === wanted);
}

function isActor(wanted: string, { actor }: Entry): boolean {
  const [kind, who] = [wanted.split(':', 1)[0], wanted.slice(wanted.indexOf(':') + 1)];
  switch (kind) {
    case 'user':
      return actor.email === who;
    case 'key':
      return actor.api_key_prefix === who;
    case 'system':
      return actor.type === 'BASETEN_SYSTEM';
    default:
      return true;
  }
}

function moment(field: string): number | undefined {
  const ms = Date.parse(field);
  return Number.isNaN(ms) ? undefined : ms;
}
