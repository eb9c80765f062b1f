// Where models are called.

/** The environment that every model has. */
export const PRODUCTION = 'production';

/** The part of the path below the model. */
export const environmentPath = (environment: string): string =>
  environment === PRODUCTION ? PRODUCTION : `environments/${encodeURIComponent(environment)}`;
export const deploymentPath = (deployment: string): string => `deployment/${deployment}`;

/** Where what stands at such a part is called. */
export const endpointOf = (model: string, path: string): string => `${location.origin}/models/${model}/${path}/predict`;
