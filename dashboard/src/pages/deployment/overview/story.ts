// How a deployment came from its push to where it stands: its steps, each with its times.
import type { Schemas } from '$lib/api/client';

type Status = Schemas['DeploymentStatus'];
type Attempt = Schemas['StartupAttempt'];

/** What is known of it. Times are epoch milliseconds. */
export interface Facts {
  status: Status;
  isDevelopment: boolean;
  pushedAt: number;
  pushedBy?: string;
  /** The newest time that somebody activated or retried it. */
  resumed?: { at: number; by?: string; isRetry: boolean };
  /** The first and the last line of its newest build. */
  build?: { startedAt: number; lastLineAt: number };
  /** Whether its log goes back to its push. */
  isLogWhole: boolean;
  /** Starts of its replicas that have ended, well or not; newest first. */
  starts: Attempt[];
  /** When a replica that is still starting began to load the model. */
  loadingSince?: number;
}

export interface Step {
  name: 'Pushed' | 'Copied' | 'Build' | 'Deploy' | 'Load' | 'Active';
  state: 'done' | 'running' | 'failed' | 'waiting';
  startedAt?: number;
  /** How long it took in milliseconds; of the last step, how long all did. */
  took?: number;
  note?: string;
}

export function tell(facts: Facts): Step[] {
  return [beginning(facts), build(facts), ...ofStart(facts)];
}

function beginning(facts: Facts): Step {
  const begun = { state: 'done', startedAt: facts.pushedAt } as const;
  if (isCopy(facts)) return { name: 'Copied', ...begun, note: 'for a promotion' };
  return { name: 'Pushed', ...begun, note: facts.pushedBy && `by ${facts.pushedBy}` };
}

/** Whether a promotion has made it, of what another was built from: then nobody has pushed it and nothing was built. */
const isCopy = ({ status, pushedBy, build, isLogWhole }: Facts): boolean =>
  status !== 'BUILDING' && pushedBy === undefined && build === undefined && isLogWhole;

/** Whether a line is to come that is told of by no event: that a build, or a load, has begun. */
export function isAwaited(facts: Facts): boolean {
  if (facts.status === 'BUILDING') return currentBuild(facts) === undefined;
  return facts.status === 'LOADING_MODEL' && facts.loadingSince === undefined;
}

/** The build that runs, where one does: the newest one may be of before a retry. */
function currentBuild({ build, resumed }: Facts): Facts['build'] {
  return build && build.startedAt >= (resumed?.at ?? 0) ? build : undefined;
}

function build(facts: Facts): Step {
  const { status, build, isLogWhole, starts } = facts;
  const name = 'Build';
  if (status === 'BUILDING') {
    const startedAt = currentBuild(facts)?.startedAt;
    return { name, state: 'running', startedAt, note: startedAt ? undefined : 'waits its turn' };
  }
  const times = build && { startedAt: build.startedAt, took: build.lastLineAt - build.startedAt };
  if (status === 'BUILD_FAILED') return { name, state: 'failed', ...times };
  if (status === 'BUILD_STOPPED') return { name, state: 'failed', ...times, note: 'stopped' };
  if (times) return { name, state: 'done', ...times };
  if (status === 'INACTIVE' && starts.length === 0) return { name, state: 'waiting' };
  return { name, state: 'done', note: isLogWhole ? 'none was needed' : 'no longer in the log' };
}

function ofStart(facts: Facts): Step[] {
  switch (facts.status) {
    case 'BUILDING':
    case 'BUILD_FAILED':
    case 'BUILD_STOPPED':
      return waiting('Deploy', 'Load', 'Active');
    case 'DEPLOYING':
    case 'LOADING_MODEL':
      return underWay(facts);
    default: {
      const start = startOf(facts);
      return start ? ended(facts, start) : waiting('Deploy', 'Load', 'Active');
    }
  }
}

function underWay({ status, resumed, build, pushedAt, loadingSince }: Facts): Step[] {
  const startedAt = Math.max(resumed?.at ?? 0, build?.lastLineAt ?? pushedAt);
  if (status === 'DEPLOYING') return [{ name: 'Deploy', state: 'running', startedAt }, ...waiting('Load', 'Active')];
  return [
    { name: 'Deploy', state: 'done', startedAt, took: loadingSince && loadingSince - startedAt },
    { name: 'Load', state: 'running', startedAt: loadingSince },
    ...waiting('Active'),
  ];
}

/** The start that the story is about: the first that went well since it was last built or asked to run. */
function startOf({ status, starts, pushedAt, resumed, build }: Facts): Attempt | undefined {
  const from = Math.max(pushedAt, resumed?.at ?? 0, build?.startedAt ?? 0);
  const since = starts.filter((one) => one.started_at_epoch_millis >= from);
  const wentWell = (one: Attempt) => one.outcome === 'SUCCESS';
  if (status === 'DEPLOY_FAILED') return since[0] ?? starts[0];
  return since.findLast(wentWell) ?? starts.find(wentWell) ?? starts[0];
}

function ended(facts: Facts, start: Attempt): Step[] {
  const startedAt = start.started_at_epoch_millis;
  const endedAt = startedAt + start.duration_ms;
  const loadedFrom = startedAt + loadOffset(start);
  if (start.outcome !== 'SUCCESS' && loadedFrom <= startedAt) {
    return [{ name: 'Deploy', state: 'failed', startedAt, took: start.duration_ms }, ...waiting('Load', 'Active')];
  }
  const resumed = facts.resumed && facts.resumed.at <= startedAt ? facts.resumed : undefined;
  const note = resumed && `${resumed.isRetry ? 'retried' : 'activated'}${resumed.by ? ` by ${resumed.by}` : ''}`;
  const deploy: Step = { name: 'Deploy', state: 'done', startedAt, took: loadedFrom - startedAt, note };
  const load = { name: 'Load', startedAt: loadedFrom, took: endedAt - loadedFrom } as const;
  if (start.outcome !== 'SUCCESS') return [deploy, { ...load, state: 'failed' }, ...waiting('Active')];
  return [deploy, { ...load, state: 'done' }, active(facts, resumed, endedAt)];
}

/** When it was active, and how long that was after somebody had asked for it. */
function active(facts: Facts, resumed: Facts['resumed'], at: number): Step {
  const { isDevelopment, pushedAt, build } = facts;
  const step = { name: 'Active', state: 'done', startedAt: at } as const;
  if (resumed) return { ...step, took: at - resumed.at, note: `after the ${resumed.isRetry ? 'retry' : 'activation'}` };
  // A change of a development deployment is built as a push is.
  const isOfChange = isDevelopment && build !== undefined && build.startedAt <= at;
  if (isOfChange) return { ...step, took: at - build.startedAt, note: 'after the last change' };
  return { ...step, took: at - pushedAt, note: isCopy(facts) ? 'after the copy' : 'after the push' };
}

const waiting = (...names: Step['name'][]): Step[] => names.map((name) => ({ name, state: 'waiting' }));

/** Where in a start the loading of the model begins: when its process is there. */
function loadOffset({ phase_summary }: Attempt): number {
  const load = phase_summary.find(({ phase }) => phase === 'CONTAINER_START' || phase === 'READINESS');
  return load?.offset_ms ?? 0;
}
