// What the page of secrets decides by itself.
import type { Schemas } from '$lib/api/client';

/** A secret with the team whose models may ask for it. */
export interface Row {
  secret: Schemas['Secret'];
  team: Schemas['Team'];
}

/** Names that are the same to the server, whatever stands between their letters and digits. */
const fold = (name: string): string => name.replace(/[^A-Za-z0-9]/g, '_');

/** The secret of `team` that `name` means, in any spelling. */
export function findSecret(rows: Row[], teamId: string, name: string): Schemas['Secret'] | undefined {
  return rows.find((row) => row.team.id === teamId && fold(row.secret.name) === fold(name))?.secret;
}

/** What is wrong with a name; nothing when it can be taken. */
export function nameTrouble(name: string): string | undefined {
  if (!/^[A-Za-z0-9._-]*$/.test(name)) return 'Only letters, digits, hyphens, underscores and periods.';
  return undefined;
}

/** What of a value is easily overlooked. */
export function valueWarning(value: string): string | undefined {
  if (value === '') return undefined;
  if (/\n$/.test(value)) return 'The value ends with a line break, which models will read as part of it.';
  if (value !== value.trim()) return 'The value has blanks at an end, which models will read as part of it.';
  return undefined;
}

/** How a model asks for a secret in its `config.yaml`. */
export const declaration = (name: string): string => `secrets:\n  ${name}: null\n`;

/** How its code reads it. */
export const use = (name: string): string =>
  `class Model:\n    def __init__(self, **kwargs):\n        self._token = kwargs["secrets"]["${name}"]\n`;
