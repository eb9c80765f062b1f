// What an entry of the audit log says beyond its line: what changed from what to what, and the rest.
import { formatWord } from '$lib/format';
import type { Entry } from './events';

export interface Change {
  field: string;
  before: string;
  after: string;
}

/** Fields that the line shows. */
const SHOWN = [
  'event_type',
  'model_name',
  'deployment_name',
  'environment_name',
  'secret_name',
  'user_name',
  'team_name',
  'service_account_name',
  'prefix',
  'api_key_id',
];

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What changed, where the entry says what was before. */
export function changesOf(entry: Entry): Change[] | undefined {
  const { previous_settings: previous, ...now } = entry.event_data as Fields;
  if (!isFields(previous)) return undefined;
  const [before, after] = [flatten(previous), flatten(now)];
  const fields = [...before.keys()].filter((field) => before.get(field) !== after.get(field));
  return fields.map((field) => ({ field, before: before.get(field) ?? '–', after: after.get(field) ?? '–' }));
}

/** Everything else that it says. Settings that stayed as they were say nothing. */
export function factsOf(entry: Entry): [field: string, value: string][] {
  const { previous_settings: previous, ...rest } = entry.event_data as Fields;
  const settings = isFields(previous) ? Object.keys(previous) : [];
  const left = Object.entries(rest).filter(([field]) => !SHOWN.includes(field) && !settings.includes(field));
  return [...flatten(Object.fromEntries(left))].filter((fact): fact is [string, string] => fact[1] !== undefined);
}

/** Fields in words with values in words, those of inner objects under both names; undefined where there is no value. */
function flatten(fields: Fields, within = ''): Map<string, string | undefined> {
  const flat = new Map<string, string | undefined>();
  for (const [field, value] of Object.entries(fields)) {
    const name = within + formatWord(field);
    if (isFields(value)) for (const inner of flatten(value, `${name}: `)) flat.set(...inner);
    else flat.set(name, inWords(value));
  }
  return flat;
}

function inWords(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map((one) => inWords(one) ?? '–').join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
