//! What the client pushes.

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use serde_json::{Map, Value};

use super::{
    objects::Version,
    patches::{self, Patched},
    query, refused,
    scalars::{self, JsonString},
    scene,
};
use crate::ops::{
    models,
    payload::Payload,
    push::{self, Destination, Source},
};

/// The root of what can be done.
pub struct Mutation;

/// What a push has made.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct Created {
    model_version: Version,
}

/// What all pushes have in common.
struct Push {
    s3_key: String,
    config: String,
    raw_config: Option<String>,
    truss_user_env: Option<String>,
    user_deploy_metadata: Option<JsonString>,
    deploy_timeout_minutes: Option<u32>,
}

#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl Mutation {
    /// Makes a model with its first published deployment.
    #[allow(clippy::too_many_arguments, reason = "the client's arguments")]
    async fn create_model_from_truss(
        &self,
        context: &Context<'_>,
        name: String,
        #[graphql(name = "s3_key")] s3_key: String,
        config: String,
        semver_bump: Option<String>,
        truss_user_env: Option<String>,
        allow_truss_download: Option<bool>,
        version_name: Option<String>,
        environment_name: Option<String>,
        deploy_timeout_minutes: Option<u32>,
        team_id: Option<ID>,
        user_deploy_metadata: Option<JsonString>,
        raw_config: Option<String>,
    ) -> Result<Created> {
        let _ = semver_bump; // a deployment has a name and an id, and no number
        let push = Push { s3_key, config, raw_config, truss_user_env, user_deploy_metadata, deploy_timeout_minutes };
        let destination = new_model(name, team_id, allow_truss_download)?;
        let payload = Payload { deployment_name: version_name, environment_name, ..push.payload()? };
        push.carry_out(context, destination, payload).await
    }

    /// Adds a published deployment to a model.
    #[allow(clippy::too_many_arguments, reason = "the client's arguments")]
    async fn create_model_version_from_truss(
        &self,
        context: &Context<'_>,
        model_id: ID,
        #[graphql(name = "s3_key")] s3_key: String,
        config: String,
        semver_bump: Option<String>,
        truss_user_env: Option<String>,
        scale_down_old_production: Option<bool>,
        preserve_env_instance_type: Option<bool>,
        name: Option<String>,
        environment_name: Option<String>,
        deploy_timeout_minutes: Option<u32>,
        user_deploy_metadata: Option<JsonString>,
        raw_config: Option<String>,
    ) -> Result<Created> {
        let _ = semver_bump;
        let push = Push { s3_key, config, raw_config, truss_user_env, user_deploy_metadata, deploy_timeout_minutes };
        let payload = Payload {
            deployment_name: name,
            environment_name,
            preserve_env_instance_type: preserve_env_instance_type.unwrap_or(true),
            keep_previous: !scale_down_old_production.unwrap_or(true),
            ..push.payload()?
        };
        push.carry_out(context, Destination::Model(query::id("model", &model_id)?), payload).await
    }

    /// Makes or overwrites a model's development deployment.
    #[allow(clippy::too_many_arguments, reason = "the client's arguments")]
    async fn deploy_draft_truss(
        &self,
        context: &Context<'_>,
        name: String,
        #[graphql(name = "s3_key")] s3_key: String,
        config: String,
        truss_user_env: Option<String>,
        allow_truss_download: Option<bool>,
        deploy_timeout_minutes: Option<u32>,
        team_id: Option<ID>,
        user_deploy_metadata: Option<JsonString>,
        raw_config: Option<String>,
    ) -> Result<Created> {
        let scene = scene(context);
        let push = Push { s3_key, config, raw_config, truss_user_env, user_deploy_metadata, deploy_timeout_minutes };
        let team = team_id.as_ref().map(|team| query::id("team", team)).transpose()?;
        let named = models::list(&scene.control_plane, &scene.caller, team.as_ref(), Some(name.clone())).await;
        let destination = match named.map_err(refused)?.into_iter().next() {
            Some(view) => Destination::Model(view.model.id),
            None => new_model(name, team_id, allow_truss_download)?,
        };
        let payload = Payload { is_development: true, ..push.payload()? };
        push.carry_out(context, destination, payload).await
    }

    /// Keeps a patch of a model's development deployment.
    async fn stage_patch_for_draft_truss(
        &self,
        context: &Context<'_>,
        id: ID,
        truss_user_env: Option<String>,
        patch: String,
    ) -> Result<Patched> {
        let _ = truss_user_env; // what the push said of it stays
        patches::stage(context, &id, &patch).await
    }

    /// Lets what is staged run.
    async fn sync_draft_truss(&self, context: &Context<'_>, id: ID, truss_user_env: Option<String>) -> Result<Patched> {
        let _ = truss_user_env;
        patches::sync(context, &id).await
    }
}

fn new_model(name: String, team_id: Option<ID>, allow_truss_download: Option<bool>) -> Result<Destination> {
    let team = team_id.map(|team| query::id("team", &team)).transpose()?;
    Ok(Destination::NewModel { name, team, archive_download_disabled: !allow_truss_download.unwrap_or(true) })
}

impl Push {
    fn payload(&self) -> Result<Payload> {
        let config: Map<String, Value> = scalars::decoded_json("config", &self.config)?;
        let raw_config = self.raw_config.as_deref().map(|text| scalars::decoded_text("raw_config", text));
        let user_env = self.truss_user_env.as_deref().map(|text| scalars::json("truss_user_env", text.as_bytes()));
        Ok(Payload {
            raw_config: raw_config.transpose()?,
            user_env: user_env.transpose()?,
            labels: self.user_deploy_metadata.as_ref().map(|JsonString(labels)| labels.clone()),
            deploy_timeout_minutes: self.deploy_timeout_minutes,
            ..Payload::new(config)
        })
    }

    async fn carry_out(self, context: &Context<'_>, destination: Destination, payload: Payload) -> Result<Created> {
        let scene = scene(context);
        let source = Source { payload, s3_key: Some(self.s3_key) };
        let pushed = push::push(&scene.control_plane, &scene.caller, &destination, source).await.map_err(refused)?;
        Ok(Created { model_version: Version { model: pushed.model.model, view: pushed.deployment } })
    }
}
