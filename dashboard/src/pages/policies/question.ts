// What the page asks about policies, kept in its address.
import type { Question as Asked } from '$lib/policies/explain';

export interface Question {
  /** An environment of a model and what it serves, or policies picked by hand. */
  by: 'policies' | 'environment';
  model: string;
  environment: string;
  ofEnvironment: string[];
  ofDeployment: string[];
  /** The hardware that is asked for, as `gpu t4`; empty for any. */
  asks: string;
}

/** The question in an address, without policies that are no longer there. */
export function readQuestion(value: (name: string) => string | null, known: string[]): Question {
  const names = (field: string) => (value(field)?.split(',') ?? []).filter((name) => known.includes(name));
  return {
    by: value('by') === 'environment' ? 'environment' : 'policies',
    model: value('model') ?? '',
    environment: value('environment') ?? '',
    ofEnvironment: names('of_environment'),
    ofDeployment: names('of_deployment'),
    asks: value('asks') ?? '',
  };
}

/** What the server is asked; nothing while the question is not whole. */
export function requestFor(question: Question): Asked | undefined {
  const { by, model, environment, ofEnvironment, ofDeployment, asks } = question;
  if (by === 'environment') return model && environment ? { model_id: model, environment } : undefined;
  const [type, name] = asks.split(' ');
  return {
    environment_policies: ofEnvironment,
    deployment_policies: ofDeployment,
    flavors: type && name ? [{ type, name }] : null,
  };
}
