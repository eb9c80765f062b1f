// Entries of the audit log by the day on which they were made, in the viewer's zone.
import { DAY_MS } from '$lib/spans';
import { subjectOf, type Entry } from './events';

const full = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });

/** What there still is of what entries speak of. */
export interface Existing {
  models: Set<string>;
  deployments: Set<string>;
  /** What people are called, by id. */
  people: Map<string, string>;
}

/** The entries, which are newest first, in runs of one day each. */
export function byDay(entries: Entry[], nowMs = Date.now()): { day: string; entries: Entry[] }[] {
  const days: { day: string; entries: Entry[] }[] = [];
  for (const entry of entries) {
    const day = nameOf(Date.parse(entry.created), nowMs);
    const last = days.at(-1);
    if (last?.day === day) last.entries.push(entry);
    else days.push({ day, entries: [entry] });
  }
  return days;
}

/** The models that entries speak of. */
export function modelIdsOf(entries: Entry[]): string[] {
  const ids = entries.map((entry) => subjectOf(entry).model?.id).filter((id) => id !== undefined);
  return [...new Set(ids)].sort();
}

function nameOf(atMs: number, nowMs: number): string {
  const name = full.format(atMs);
  if (name === full.format(nowMs)) return 'Today';
  return name === full.format(nowMs - DAY_MS) ? 'Yesterday' : name;
}
