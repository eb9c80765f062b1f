"""A model's life through the unmodified baseten SDK: `baseten_sdk.py API_KEY [URL]`. Without a URL it goes to the addresses that are
built into it. It checks types and times of every answer itself; what is asserted here is what the answers mean. Fails at the first
thing that is not so."""

import datetime
import io
import sys
import tarfile
import time
import urllib.request

import boto3
from baseten.client import InferenceClient, ManagementClient
from baseten.client import inferenceapi as inference
from baseten.client import managementapi as m

KEY = sys.argv[1]
URL = sys.argv[2] if len(sys.argv) > 2 else None
PATIENCE_SECONDS = 120
api = ManagementClient(api_key=KEY, base_url_override=URL).api


def main():
    organization()
    first = push("walk", version=1)
    model, deployment = first.model.id, first.deployment.id
    active(model, deployment)
    until_production_serves(model, deployment)
    assert active(model, deployment).environment == "production"
    read(model, deployment)
    endpoint = InferenceClient(api_key=KEY, **place_of(model)).api
    call(model, deployment, endpoint)
    second = swap(model, deployment, endpoint)
    rest(model, second, endpoint)
    environments(model, second, endpoint)
    development(model, endpoint)
    failures(model, second)
    end(model, deployment, second)


def place_of(model):
    """Where the model's endpoints are."""
    return {"base_url_override": f"{URL}/models/{model}"} if URL else {"model_id": model}


def organization():
    me = api.get_users_me()
    assert api.get_users_user_id(user_id=me.user_id).email == me.email
    assert me.user_id in [user.user_id for user in api.get_users().items]
    assert api.get_organizations_me().org_id
    [team] = [team for team in api.get_teams().teams if team.default]
    assert api.get_teams_team_id(team_id=team.id).name == team.name
    api.get_regions(), api.get_teams_regions(team_id=team.id)
    names = [kind.name for kind in api.get_instance_types().instance_types]
    assert names and len(api.get_instance_type_prices().instance_types) == len(names)

    api.post_secrets(request=m.UpsertSecretRequest(name="token", value="s3cret"))
    api.post_teams_secrets(team_id=team.id, request=m.UpsertSecretRequest(name="passing", value="x"))
    assert {"token", "passing"} <= {secret.name for secret in api.get_teams_secrets(team_id=team.id).secrets}
    api.delete_teams_secrets(team_id=team.id, secret_name="passing")
    assert [secret.name for secret in api.get_secrets().secrets] == ["token"]

    made = [
        api.post_api_keys(request=m.CreateAPIKeyRequest(type="WORKSPACE_INVOKE", name="one")),
        api.post_teams_api_keys(team_id=team.id, request=m.CreateAPIKeyRequest(type="WORKSPACE_MANAGE_ALL", name="two")),
    ]
    prefixes = {key.api_key.partition(".")[0] for key in made}
    assert prefixes <= {key.prefix for key in api.get_api_keys().keys}
    for prefix in prefixes:
        api.delete_api_keys(api_key_prefix=prefix)
    assert not prefixes & {key.prefix for key in api.get_api_keys().keys}


def push(name, model=None, version=1, **more):
    """Prepares, uploads with boto3, commits."""
    config = {"model_name": name, "python_version": "py311", "secrets": {"token": None}}
    payload = m.DeploymentArchivePayload(config=config, **more)
    whose = {"model_id": model} if model else {"name": name}
    place = api.post_prepare_model_upload(request=m.PrepareModelUploadRequest(deployment=payload, **whose))
    credentials = place.creds.model_dump()
    # The SDK's type has no field for the endpoint that our answer names; it is the server itself.
    s3 = boto3.client("s3", region_name=place.s3_region, endpoint_url=URL, **credentials)
    s3.put_object(Bucket=place.s3_bucket, Key=place.s3_key, Body=archive(config, version))
    if model:
        source = m.DeploymentArchiveSource(s3_key=place.s3_key, deployment=payload)
        return api.post_models_deployments(model_id=model, request=m.CreateModelDeploymentRequest(source=source))
    source = m.ModelArchiveSource(name=name, s3_key=place.s3_key, deployment=payload)
    return api.post_models(request=m.CreateModelRequest(source=source))


def archive(config, version):
    code = f"""
class Model:
    def __init__(self, secrets):
        self.token = secrets["token"]
    def predict(self, inputs):
        print("asked", inputs)
        if inputs.get("stream"):
            return (part for part in ["one ", "two"])
        if inputs.get("fail"):
            raise ValueError("on request")
        return {{"version": {version}, "token": self.token}}
"""
    files = {"config.yaml": repr(config).replace("None", "null"), "model/model.py": code}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def status(model, deployment):
    return api.get_models_deployments_deployment_id(model_id=model, deployment_id=deployment).status


def eventually(what, look):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()):
        assert time.monotonic() < deadline, f"never seen: {what}"
        time.sleep(0.1)  # polls for a condition
    return seen


def active(model, deployment):
    eventually("ACTIVE", lambda: status(model, deployment) == "ACTIVE")
    return api.get_models_deployments_deployment_id(model_id=model, deployment_id=deployment)


def until_production_serves(model, deployment):
    """A deployment serves a moment before it is production's."""
    eventually("production", lambda: api.get_models_model_id(model_id=model).production_deployment_id == deployment)


def read(model, deployment):
    assert [found.id for found in api.get_models(params=m.GetModelsParams(name="walk")).models] == [model]
    assert api.get_models(params=m.GetModelsParams(name="nobody")).models == []
    team = api.get_teams().teams[0].id
    assert [found.id for found in api.get_teams_models(team_id=team).models] == [model]
    found = api.get_models_model_id(model_id=model)
    assert (found.production_deployment_id, found.deployments_count) == (deployment, 1)
    assert [one.id for one in api.get_models_deployments(model_id=model).deployments] == [deployment]
    assert api.get_models_deployments_production(model_id=model).id == deployment
    config = api.get_models_deployments_config(model_id=model, deployment_id=deployment)
    assert config.config["model_name"] == "walk"
    link = api.get_models_deployments_download(model_id=model, deployment_id=deployment).download_url
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == archive({"model_name": "walk", "python_version": "py311", "secrets": {"token": None}}, 1)
    window = {"start_epoch_millis": 0, "end_epoch_millis": int(time.time() * 1000) + 60_000}
    starts = api.get_models_deployments_startups(
        model_id=model, deployment_id=deployment, params=m.GetModelsDeploymentsStartupsParams(**window, outcomes=["SUCCESS"])
    )
    assert starts.total_count >= 1 and starts.items[0].phase_summary
    summary = api.get_models_deployments_startups_summary(
        model_id=model, deployment_id=deployment, params=m.GetModelsDeploymentsStartupsSummaryParams(**window)
    )
    assert summary.total_duration_ms.p50_ms > 0 and summary.phase_duration_ms
    api.get_models_environments_startups(
        model_id=model, env_name="production", params=m.GetModelsEnvironmentsStartupsParams(**window)
    )
    api.get_models_environments_startups_summary(
        model_id=model, env_name="production", params=m.GetModelsEnvironmentsStartupsSummaryParams(**window)
    )
    for mode in ("CURRENT", "SUMMARY", "SERIES"):
        params = {"mode": mode, "metrics": ["baseten_inference_requests_total", "baseten_gpu_utilization"]}
        metrics = api.get_models_deployments_metrics(
            model_id=model, deployment_id=deployment, params=m.GetModelsDeploymentsMetricsParams(**params)
        )
        assert [one.name for one in metrics.metric_descriptors] == ["baseten_inference_requests_total"]
        api.get_models_environments_metrics(
            model_id=model, env_name="production", params=m.GetModelsEnvironmentsMetricsParams(**params)
        )
    today = datetime.datetime.now(datetime.timezone.utc)
    days = {"start_date": today - datetime.timedelta(days=1), "end_date": today + datetime.timedelta(days=1)}
    usage = api.get_billing_usage_summary(params=m.GetBillingUsageSummaryParams(**days))
    assert usage.dedicated_usage.minutes >= 0 and usage.training_usage is None
    assert api.get_audit_logs().items and api.get_models_audit_logs(model_id=model).items


def call(model, deployment, endpoint):
    one = inference.PredictInput({"x": 1})
    expected = {"version": 1, "token": "s3cret"}
    assert endpoint.predict_production(request=one).root == expected
    assert endpoint.predict(env_name="production", request=one).root == expected
    assert endpoint.predict_deployment(deployment_id=deployment, request=one).root == expected
    stream = inference.PredictInput({"stream": True})
    raw = endpoint.predict_production_raw(request=stream, accept="application/octet-stream")
    assert b"".join(raw.iter_bytes()) == b"one two"
    refusal(500, lambda: endpoint.predict_production(request=inference.PredictInput({"fail": True})))
    endpoint.wake_production(), endpoint.wake(env_name="production"), endpoint.wake_deployment(deployment_id=deployment)
    if URL:  # as at the built-in addresses, where each model has a host of its own
        headers = {"Host": f"model-{model}.api.example.com"}
        by_host = InferenceClient(api_key=KEY, base_url_override=URL, headers=headers).api
        assert by_host.predict_production(request=one).root == expected


def swap(model, deployment, endpoint):
    """A push to production replaces what is there when it serves."""
    pushed = push("walk", model, version=2, environment_name="production", labels={"kind": "second"}).deployment
    eventually("version 2", lambda: endpoint.predict_production(request=inference.PredictInput({})).root["version"] == 2)
    until_production_serves(model, pushed.id)
    assert api.get_models_deployments_production(model_id=model).id == pushed.id
    renamed = api.patch_models_deployments(
        model_id=model, deployment_id=pushed.id, request=m.UpdateDeploymentRequest(name="second")
    )
    assert renamed.name == "second"
    names = [one.name for one in api.get_models_deployments(model_id=model).deployments]
    assert sorted(names) == ["deployment-1", "second"]
    return pushed.id


def rest(model, deployment, endpoint):
    """Deactivated, nothing answers; activated, it does again. Settings are kept."""
    whose = {"model_id": model, "deployment_id": deployment}
    settings = m.UpdateAutoscalingSettings(min_replica=0, max_replica=2, concurrency_target=3)
    assert api.patch_models_deployments_autoscaling_settings(**whose, request=settings).status
    kept = api.get_models_deployments_deployment_id(**whose).autoscaling_settings
    assert (kept.min_replica, kept.max_replica, kept.concurrency_target) == (0, 2, 3)

    assert api.post_models_deployments_deactivate(**whose).success
    eventually("INACTIVE", lambda: status(model, deployment) == "INACTIVE")
    refusal(404, lambda: endpoint.predict_deployment(deployment_id=deployment, request=inference.PredictInput({})))
    assert api.post_models_deployments_activate(**whose).success
    active(model, deployment)
    assert endpoint.predict_production(request=inference.PredictInput({})).root["version"] == 2

    eventually("what the model has printed", lambda: "asked" in said(api.get_models_deployments_logs(**whose)))
    search = m.GetDeploymentLogsRequest(start_epoch_millis=None, end_epoch_millis=None, includes=["asked"])
    assert "asked" in said(api.post_models_deployments_logs(**whose, request=search))
    few = m.GetModelsDeploymentsLogsParams(direction="asc", limit=1)
    assert len(api.get_models_deployments_logs(**whose, params=few).logs) == 1


def said(logs):
    return "\n".join(line.message for line in logs.logs)


def environments(model, deployment, endpoint):
    made = api.post_models_environments(model_id=model, request=m.CreateEnvironmentRequest(name="staging"))
    assert made.current_deployment is None
    listed = {one.name for one in api.get_models_environments(model_id=model).environments}
    assert listed == {"production", "staging"}
    whose = {"model_id": model, "env_name": "staging"}
    change = m.UpdateEnvironmentRequest(autoscaling_settings=m.UpdateAutoscalingSettings(max_replica=3))
    assert api.patch_models_environments(**whose, request=change).status
    assert api.get_models_environments_env_name(**whose).autoscaling_settings.max_replica == 3
    pushed = push("walk", model, version=3, environment_name="staging").deployment.id
    active(model, pushed)
    eventually("staging", lambda: api.get_models_environments_env_name(**whose).current_deployment)
    assert endpoint.predict(env_name="staging", request=inference.PredictInput({})).root["version"] == 3
    assert endpoint.predict_production(request=inference.PredictInput({})).root["version"] == 2
    assert api.get_models_environments_logs(**whose).logs
    assert api.post_models_environments_deactivate(**whose).success
    eventually("INACTIVE", lambda: status(model, pushed) == "INACTIVE")
    assert api.post_models_environments_activate(**whose).success
    active(model, pushed)
    api.delete_models_environments(**whose)
    assert [one.name for one in api.get_models_environments(model_id=model).environments] == ["production"]
    # The gateway follows what is stored.
    call = lambda: endpoint.predict(env_name="staging", request=inference.PredictInput({}))
    eventually("staging is gone", lambda: is_refused(404, call))


def development(model, endpoint):
    push("walk", model, version=4, is_development=True)
    found = api.get_models_deployments_development(model_id=model)
    assert found.is_development
    active(model, found.id)
    assert endpoint.predict_development(request=inference.PredictInput({})).root["version"] == 4
    endpoint.wake_development()
    settings = m.UpdateAutoscalingSettings(scale_down_delay=120)
    assert api.patch_models_deployments_development_autoscaling_settings(model_id=model, request=settings).status
    assert api.post_models_deployments_development_deactivate(model_id=model).success
    eventually("INACTIVE", lambda: status(model, found.id) == "INACTIVE")
    assert api.post_models_deployments_development_activate(model_id=model).success
    active(model, found.id)


def failures(model, deployment):
    """Each refusal has the status that the SDK's users look for."""
    refusal(404, lambda: api.get_models_model_id(model_id="nothere1"))
    refusal(404, lambda: api.get_models_deployments_deployment_id(model_id=model, deployment_id="nothere"))
    refusal(404, lambda: api.delete_secrets(secret_name="nobody"))
    refusal(400, lambda: push("walk"))
    refusal(400, lambda: api.post_models_environments(model_id=model, request=m.CreateEnvironmentRequest(name="production")))
    refusal(400, lambda: api.delete_models_deployments(model_id=model, deployment_id=deployment))
    stranger = ManagementClient(api_key="wrong.key", base_url_override=URL).api
    refusal(401, stranger.get_models)
    stranger = InferenceClient(api_key="wrong.key", **place_of(model)).api
    refusal(401, lambda: stranger.predict_production(request=inference.PredictInput({})))


def refusal(expected, call):
    assert is_refused(expected, call), f"not refused with {expected}"


def is_refused(expected, call):
    try:
        call()
    except (m.ResponseError, inference.ResponseError, inference.ResponseErrorResponse) as error:
        assert error.status_code == expected, error
        return True
    return False


def end(model, first, second):
    assert api.post_models_deployments_deactivate(model_id=model, deployment_id=first).success
    eventually("INACTIVE", lambda: status(model, first) == "INACTIVE")
    assert api.delete_models_deployments(model_id=model, deployment_id=first).deleted
    refusal(404, lambda: status(model, first))
    assert api.delete_models(model_id=model).deleted
    refusal(404, lambda: api.get_models_model_id(model_id=model))
    api.delete_secrets(secret_name="token")


main()
