// The input that a model's own configuration gives as an example.
import { api, ok } from './api/client';

/** `model_metadata.example_model_input` of a deployment; undefined where it has none. */
export async function readExample(model: string, deployment: string): Promise<unknown> {
  const path = { model_id: model, deployment_id: deployment };
  const url = '/v1/models/{model_id}/deployments/{deployment_id}/config';
  const { config } = await ok(api.GET(url, { params: { path, query: { output_format: 'parsed' } } }));
  const { model_metadata: metadata } = (config ?? {}) as { model_metadata?: { example_model_input?: unknown } };
  return metadata?.example_model_input ?? undefined;
}
