// Everybody who has joined, and what they are called.
import { api, ok, type Schemas } from './api/client';

const PAGE = 1000;

/** All people, whatever the number of pages. */
export async function readPeople(): Promise<Schemas['UserInfo'][]> {
  const people: Schemas['UserInfo'][] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: PAGE, cursor };
    const { items, pagination } = await ok(api.GET('/v1/users', { params: { query } }));
    people.push(...items);
    cursor = pagination.has_more ? (pagination.cursor ?? undefined) : undefined;
  } while (cursor);
  return people;
}

/** What a person is called. */
export const nameOf = (user: Schemas['EnvironmentGroupUser']): string => user.name ?? user.email ?? user.user_id;
