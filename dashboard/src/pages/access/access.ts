// What the page of access decides by itself.
import type { Schemas } from '$lib/api/client';
import { nameOf } from '$lib/people';

type Group = Schemas['EnvironmentGroup'];

/** Who may change the environments of a group. */
export function whoMayChange(group: Group): string {
  if (!group.manage_access.is_restricted) return 'Everybody who may manage models';
  const names = (group.manage_access.users ?? []).map(nameOf);
  return names.length === 0 ? 'Administrators' : names.join(', ');
}
