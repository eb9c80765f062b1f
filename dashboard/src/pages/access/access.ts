// What the page of access decides by itself.
import type { Schemas } from '$lib/api/client';
import { nameOf } from '$lib/people';

type Group = Schemas['EnvironmentGroup'];
type Membership = Schemas['Membership'];
type Team = Schemas['Team'];

export type Role = Schemas['Role'];

/** Who may change the environments of a group. */
export function whoMayChange(group: Group): string {
  if (!group.manage_access.is_restricted) return 'Everybody who may manage models';
  const names = (group.manage_access.users ?? []).map(nameOf);
  return names.length === 0 ? 'Administrators' : names.join(', ');
}

/** Whoever looks at the page, and what they may change. */
export interface Viewer {
  me: Schemas['UserInfo'];
  /** Whether they are a person, or a service account. A team's key stands for nobody who says who may do what. */
  isSomebody: boolean;
}

/** Whether the organization is theirs to manage. */
export const isAdministrator = ({ me, isSomebody }: Viewer): boolean => isSomebody && me.role === 'ADMIN';

/** Whether they say who is in this team, and what it restricts. */
export const administers = (viewer: Viewer, teamId: string): boolean =>
  isAdministrator(viewer) ||
  (viewer.isSomebody && (viewer.me.teams ?? []).some((one) => one.team_id === teamId && one.role === 'ADMIN'));

export const roleName = (role: Role | undefined): string => (role === 'ADMIN' ? 'Administrator' : 'Member');

/** What each role lets somebody do in the organization. */
export const IN_ORGANIZATION: { value: Role; label: string; does: string }[] = [
  { value: 'MEMBER', label: 'Member', does: 'Deploys, manages and calls the models of the teams that they are in.' },
  {
    value: 'ADMIN',
    label: 'Administrator',
    does: 'Does all of that in every team, and manages people, teams, policies and service accounts.',
  },
];

/** What each role lets somebody do in a team. */
export const IN_TEAM: { value: Role; label: string; does: string }[] = [
  { value: 'MEMBER', label: 'Member', does: 'Deploys, manages and calls the models of the team.' },
  {
    value: 'ADMIN',
    label: 'Administrator',
    does: 'Also says who is in the team, makes its keys, and restricts its environments.',
  },
];

/** `Default, search (administrator)`, in the order of `teams`; those that the caller does not reach are counted. */
export function teamsInWords(memberships: Membership[], teams: Team[]): string {
  const known = teams.flatMap((team) => {
    const membership = memberships.find((one) => one.team_id === team.id);
    return membership ? [membership.role === 'ADMIN' ? `${team.name} (administrator)` : team.name] : [];
  });
  const others = memberships.length - known.length;
  if (others > 0) known.push(others === 1 ? '1 other' : `${others} others`);
  return known.join(', ') || 'none';
}

/** What is wrong with an address; nothing when it can be taken, or is still empty. */
export const addressTrouble = (address: string): string | undefined =>
  address === '' || /^[^\s@]+@[^\s@]+$/.test(address) ? undefined : 'This is no address such as ann@example.com.';
