// Which lines of a log are asked for: in the address of the page, and as the API has it.
import type { Schemas } from '$lib/api/client';
import { MINUTE_MS, SPANS, spans } from '$lib/spans';

export type Level = Schemas['LogLevel'];
export type Component = 'build' | 'deploy' | 'model';

export interface Filters {
  /** How far back, by name. */
  last: Window;
  level?: Level;
  component?: Component;
  replica?: string;
  request?: string;
  /** A line has each of these, and none of those. */
  includes: string[];
  excludes: string[];
  pattern?: string;
}

/** What the API takes, less the time in which a request gets there. */
export const LONGEST_WINDOW_MS = SPANS['7d'].ms - MINUTE_MS;
export const WINDOWS = spans('15m', '1h', '6h', '24h', '7d');
export type Window = (typeof WINDOWS)[number]['id'];
const DEFAULT_WINDOW: Window = '24h';

export const LEVELS: { value: Level; name: string }[] = [
  { value: 'DEBUG', name: 'Debug and above' },
  { value: 'INFO', name: 'Info and above' },
  { value: 'WARNING', name: 'Warnings and errors' },
  { value: 'ERROR', name: 'Errors' },
];
export const COMPONENTS: { value: Component; name: string }[] = [
  { value: 'build', name: 'Build' },
  { value: 'deploy', name: 'Deploy' },
  { value: 'model', name: 'Model' },
];
/** The most terms that the API takes of a kind. */
export const MOST_TERMS = 8;

/** The filters that an address says. What it cannot mean is left out. */
export function readFilters(value: (name: string) => string | null): Filters {
  return {
    last: WINDOWS.find((one) => one.id === value('last'))?.id ?? DEFAULT_WINDOW,
    level: LEVELS.find((one) => one.value === value('level'))?.value,
    component: COMPONENTS.find((one) => one.value === value('component'))?.value,
    replica: value('replica') || undefined,
    request: value('request') || undefined,
    includes: terms(value('includes')),
    excludes: terms(value('excludes')),
    pattern: value('pattern') || undefined,
  };
}

/** What the address says of `filters`. */
export function writeFilters(filters: Filters): Record<string, string | null> {
  return {
    last: filters.last === DEFAULT_WINDOW ? null : filters.last,
    level: filters.level ?? null,
    component: filters.component ?? null,
    replica: filters.replica ?? null,
    request: filters.request ?? null,
    includes: filters.includes.join('\n') || null,
    excludes: filters.excludes.join('\n') || null,
    pattern: filters.pattern ?? null,
  };
}

/** No filter but the window. */
export const withoutFilters = ({ last }: Filters): Filters => ({ last, includes: [], excludes: [] });

/** Whether they keep any line of the window back. */
export const isFiltered = (filters: Filters): boolean =>
  Object.entries(writeFilters(filters)).some(([name, value]) => name !== 'last' && value !== null);

/** The same for the API. */
export const toQuery = (filters: Filters) => ({
  min_level: filters.level,
  component: filters.component,
  replica: filters.replica,
  request_id: filters.request,
  includes: filters.includes.length > 0 ? filters.includes : undefined,
  excludes: filters.excludes.length > 0 ? filters.excludes : undefined,
  search_pattern: filters.pattern,
});

/** When the window begins. */
export const windowStart = ({ last }: Filters, nowMs: number): number =>
  nowMs - Math.min(SPANS[last].ms, LONGEST_WINDOW_MS);

/** The parameters of a query in an address; a list is repeated. */
export function toParams(query: Record<string, string | number | string[] | undefined>): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : value === undefined ? [] : [value])
      params.append(name, String(one));
  }
  return params;
}

// Several in one parameter, each on a line of its own: no line of a log has a line break to look for.
const terms = (text: string | null): string[] => (text ?? '').split('\n').filter((one) => one !== '');
