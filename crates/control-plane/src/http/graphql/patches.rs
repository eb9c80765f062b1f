//! Live reload under the names that the client has for it.

use api::{
    id::ModelId,
    v1::patches::{DeploymentPatchOp, DeploymentPatchPoint},
};
use async_graphql::{Context, ID, Result, SimpleObject};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{query, refused, scalars, scene, unreadable};
use crate::ops::{
    deployments::{self, Target},
    patches::{self, Patch, Verdict},
};

/// Where the patches of a development deployment stand.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct WatchState {
    is_container_built_from_push: bool,
    /// What is to run; none while nothing has been patched since the push.
    django_patch_state: Option<PatchState>,
    /// What runs; none while nothing has been patched since the push.
    container_patch_state: Option<PatchState>,
}

/// A source in one moment.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct PatchState {
    current_hash: String,
    current_signature: String,
}

/// What became of a patch.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
pub struct Patched {
    id: ID,
    name: String,
    version_id: ID,
    succeeded: bool,
    needs_full_deploy: bool,
    error: Option<String>,
}

/// A patch as the client sends it.
#[derive(Deserialize)]
struct Sent {
    prev_hash: String,
    next_signature: Signature,
    patch_ops: Vec<Operation>,
}

/// A source in one moment, as the client describes it.
#[derive(Deserialize)]
struct Signature {
    content_hashes_by_path: std::collections::BTreeMap<String, Option<String>>,
    config: String,
    #[serde(default)]
    requirements_file_requirements: Vec<String>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(rename = "type")]
    kind: String,
    body: Map<String, Value>,
}

/// What a client compares its folder with.
pub fn signature(point: &DeploymentPatchPoint) -> String {
    json!({
        "content_hashes_by_path": point.content_hashes,
        "config": point.config,
        "requirements_file_requirements": point.requirements,
    })
    .to_string()
}

/// Where the patches of a model's development deployment stand.
pub async fn watch_state(context: &Context<'_>, id: &ID) -> Result<WatchState> {
    let scene = scene(context);
    let model = query::id::<ModelId>("model", id)?;
    let state = patches::state(&scene.control_plane, &scene.caller, &model, &Target::Development).await;
    let state = state.map_err(refused)?;
    let point = |point: &DeploymentPatchPoint| PatchState {
        current_hash: patches::hash(point),
        current_signature: signature(point),
    };
    Ok(WatchState {
        is_container_built_from_push: state.runs_what_was_pushed,
        django_patch_state: state.is_patched.then(|| point(state.base())),
        container_patch_state: state.is_patched.then(|| point(&state.running)),
    })
}

/// Keeps a patch.
pub async fn stage(context: &Context<'_>, id: &ID, patch: &str) -> Result<Patched> {
    let scene = scene(context);
    let model = query::id::<ModelId>("model", id)?;
    let sent: Sent = scalars::decoded_json("patch", patch)?;
    if let Some(other) = sent.patch_ops.iter().find(|one| matches!(one.kind.as_str(), "system_package" | "data")) {
        let reason = format!("only a push can change what a {} operation does", other.kind);
        return patched(context, &model, Some(reason), true).await;
    }
    let operations: Result<Vec<_>> = sent.patch_ops.into_iter().enumerate().map(read).collect();
    let next = DeploymentPatchPoint {
        content_hashes: sent.next_signature.content_hashes_by_path,
        config: sent.next_signature.config,
        requirements: sent.next_signature.requirements_file_requirements,
    };
    let patch = Patch { prev_hash: sent.prev_hash, next, operations: operations? };
    let staged = patches::stage(&scene.control_plane, &scene.caller, &model, &Target::Development, patch).await;
    patched(context, &model, staged.map_err(refused)?.needs_push, true).await
}

/// Lets what is staged run.
pub async fn sync(context: &Context<'_>, id: &ID) -> Result<Patched> {
    let scene = scene(context);
    let model = query::id::<ModelId>("model", id)?;
    let verdict = patches::sync(&scene.control_plane, &scene.caller, &model, &Target::Development).await;
    match verdict.map_err(refused)? {
        Verdict::InSync => patched(context, &model, None, false).await,
        Verdict::NeedsPush(reason) => patched(context, &model, Some(reason), true).await,
        Verdict::Failed(reason) => patched(context, &model, Some(patches::failure(&reason)), false).await,
    }
}

/// What is told of a patch; with an error it has not succeeded.
async fn patched(
    context: &Context<'_>,
    model: &ModelId,
    error: Option<String>,
    can_be_pushed: bool,
) -> Result<Patched> {
    let scene = scene(context);
    let view = deployments::get(&scene.control_plane, &scene.caller, model, &Target::Development).await;
    let deployment = view.map_err(refused)?.deployment;
    Ok(Patched {
        id: ID(model.to_string()),
        name: deployment.name,
        version_id: ID(deployment.id.to_string()),
        succeeded: error.is_none(),
        needs_full_deploy: error.is_some() && can_be_pushed,
        error,
    })
}

/// The same operation in the shape that the routes have for it.
fn read((number, operation): (usize, Operation)) -> Result<DeploymentPatchOp> {
    let Operation { kind, mut body } = operation;
    if kind == "environment_variable"
        && let Some((name, value)) = body.remove("item").as_ref().and_then(Value::as_object).and_then(single)
    {
        body.insert("name".to_owned(), name.into());
        body.insert("value".to_owned(), value);
    }
    body.insert("type".to_owned(), kind.into());
    DeploymentPatchOp::read(body).map_err(|error| unreadable("patch", format!("patch_ops[{number}]: {error}")))
}

fn single(item: &Map<String, Value>) -> Option<(String, Value)> {
    item.iter().next().map(|(name, value)| (name.clone(), value.clone()))
}
