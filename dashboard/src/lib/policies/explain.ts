// The question where something may run.
import { api, ok, type Schemas } from '$lib/api/client';

/** The generated types ask for all of it, since each part has a default; the server does not. */
export type Question = Partial<Schemas['ExplainPoliciesRequest']>;

export const explain = (question: Question): Promise<Schemas['ExplainPoliciesResponse']> =>
  ok(api.POST('/v1/policies:explain', { body: question as Schemas['ExplainPoliciesRequest'] }));
