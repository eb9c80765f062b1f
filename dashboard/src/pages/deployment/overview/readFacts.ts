// What the API knows of a deployment's way: its starts, its log, what people have done to it.
import { api, ok, type Schemas } from '$lib/api/client';
import { MINUTE_MS, SPANS } from '$lib/spans';
import type { Facts } from './story';

type Path = { model_id: string; deployment_id: string };

export async function readFacts(deployment: Schemas['Deployment']): Promise<Facts> {
  const path = { model_id: deployment.model_id, deployment_id: deployment.id };
  const { status, is_development: isDevelopment } = deployment;
  const pushedAt = Date.parse(deployment.created_at);
  const [starts, build, deeds, loadingSince] = await Promise.all([
    readStarts(path, pushedAt),
    readBuild(path),
    readDeeds(path, pushedAt),
    status === 'LOADING_MODEL' ? newestLine(path, { includes: ['loads the model'], component: 'deploy' }) : undefined,
  ]);
  const isLogWhole = pushedAt > Date.now() - SPANS['7d'].ms;
  return { status, isDevelopment, pushedAt, ...deeds, build, isLogWhole, starts, loadingSince };
}

async function readStarts(path: Path, pushedAt: number) {
  const query = { start_epoch_millis: pushedAt, end_epoch_millis: Date.now() + MINUTE_MS, limit: 100 };
  const url = '/v1/models/{model_id}/deployments/{deployment_id}/startups';
  return (await ok(api.GET(url, { params: { path, query } }))).items;
}

/** The newest build, by its lines. Those are kept for some days only. */
async function readBuild(path: Path): Promise<Facts['build']> {
  const component = 'build';
  const [startedAt, lastLineAt] = await Promise.all([
    newestLine(path, { component, includes: ['build started'] }),
    newestLine(path, { component }),
  ]);
  return startedAt !== undefined && lastLineAt !== undefined ? { startedAt, lastLineAt } : undefined;
}

async function newestLine(path: Path, filter: { component: string; includes?: string[] }): Promise<number | undefined> {
  const query = { ...filter, start_epoch_millis: Date.now() - SPANS['7d'].ms + MINUTE_MS, limit: 1 };
  const url = '/v1/models/{model_id}/deployments/{deployment_id}/logs';
  const { logs } = await ok(api.GET(url, { params: { path, query } }));
  return logs[0] && Number(logs[0].timestamp.slice(0, -6));
}

/** Who pushed it, and who let it run again. Not everybody may read the audit log: it is left out then. */
async function readDeeds(path: Path, pushedAt: number): Promise<Pick<Facts, 'pushedBy' | 'resumed'>> {
  const url = '/v1/models/{model_id}/audit_logs';
  const read = async (query: { direction: 'ASC' | 'DESC'; start_epoch_millis: number; limit: number }) => {
    const answer = await api.GET(url, { params: { path: { model_id: path.model_id }, query } });
    const entries = answer.data?.items ?? [];
    return entries.filter(
      ({ event_data }) => (event_data as { deployment_id?: string }).deployment_id === path.deployment_id,
    );
  };
  const [first, newest] = await Promise.all([
    read({ direction: 'ASC', start_epoch_millis: pushedAt, limit: 20 }),
    read({ direction: 'DESC', start_epoch_millis: pushedAt, limit: 200 }),
  ]);
  const push = first.find(({ event_type }) => event_type === 'MODEL_DEPLOYED');
  const resumption = newest.find(({ event_type }) => /_(ACTIVATED|RETRIED)$/.test(event_type));
  return {
    pushedBy: push && nameOf(push),
    resumed: resumption && {
      at: Date.parse(resumption.created),
      by: nameOf(resumption),
      isRetry: resumption.event_type === 'MODEL_DEPLOYMENT_RETRIED',
    },
  };
}

const nameOf = ({ actor }: Schemas['AuditLogEntry']): string | undefined =>
  actor.email ?? actor.api_key_name ?? actor.api_key_prefix ?? undefined;
