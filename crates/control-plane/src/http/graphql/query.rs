//! What the client asks.

use api::id::{ModelId, TeamId};
use async_graphql::{Context, ID, Object, Result, SimpleObject};
use serde_json::json;

use super::{
    objects::{Model, Organization, Team, User, Version},
    patches::{self, WatchState},
    refused, scalars, scene, unreadable,
};
use crate::ops::{self, deployments, models, payload::Payload, push, teams, uploads, users};

/// The field with credentials for an upload.
pub const CREDENTIALS: &str = "model_s3_upload_credentials";

/// The root of what can be asked.
pub struct Query;

#[Object(rename_fields = "snake_case", rename_args = "snake_case")]
impl Query {
    async fn organization(&self, context: &Context<'_>) -> Result<Organization> {
        let scene = scene(context);
        let (organization, _) = users::organization(&scene.control_plane, &scene.caller).await.map_err(refused)?;
        Ok(Organization { id: ID(organization.id.to_string()), workspace_name: Some(organization.name) })
    }

    /// Who asks.
    async fn user(&self, context: &Context<'_>) -> Result<User> {
        let scene = scene(context);
        let user = users::me(&scene.control_plane, &scene.caller).await.map_err(refused)?;
        Ok(User { id: ID(user.id.to_string()), email: user.email })
    }

    /// The teams that the caller reaches.
    async fn teams(&self, context: &Context<'_>) -> Result<Vec<Team>> {
        let scene = scene(context);
        let teams = teams::list(&scene.control_plane, &scene.caller, None).await.map_err(refused)?;
        Ok(teams.into_iter().map(Team::from).collect())
    }

    /// The models of a team, or of every team that the caller reaches.
    async fn models(&self, context: &Context<'_>, all: Option<bool>, team_id: Option<ID>) -> Result<Vec<Model>> {
        let scene = scene(context);
        let teams = match (all.unwrap_or(false), &team_id) {
            (true, None) => {
                let teams = teams::list(&scene.control_plane, &scene.caller, None).await.map_err(refused)?;
                teams.into_iter().map(|team| Some(team.id)).collect()
            }
            (_, team) => vec![team.as_ref().map(|team| id::<TeamId>("team", team)).transpose()?],
        };
        let mut found = Vec::new();
        for team in teams {
            let views = models::list(&scene.control_plane, &scene.caller, team.as_ref(), None).await;
            found.extend(views.map_err(refused)?.into_iter().map(Model));
        }
        Ok(found)
    }

    /// One model, by its id or its name.
    #[graphql(name = "model")]
    async fn one_model(&self, context: &Context<'_>, id: Option<ID>, name: Option<String>) -> Result<Model> {
        let scene = scene(context);
        match (id, name) {
            (Some(text), None) => {
                let model = self::id::<ModelId>("model", &text)?;
                models::get(&scene.control_plane, &scene.caller, &model).await.map(Model).map_err(refused)
            }
            (None, Some(name)) => {
                let named = models::list(&scene.control_plane, &scene.caller, None, Some(name.clone())).await;
                let named = named.map_err(refused)?.into_iter().next();
                named.map(Model).ok_or_else(|| refused(ops::Error::NotFound { kind: "model", id: name }))
            }
            _ => Err(unreadable("model", "it takes either id or name")),
        }
    }

    /// One deployment.
    async fn model_version(&self, context: &Context<'_>, id: ID) -> Result<Version> {
        let scene = scene(context);
        let deployment = self::id("deployment", &id)?;
        let found = deployments::by_id(&scene.control_plane, &scene.caller, &deployment).await;
        let (model, view) = found.map_err(refused)?;
        Ok(Version { model, view })
    }

    /// Whether a config could be pushed, before anything is uploaded.
    async fn truss_validation(
        &self,
        context: &Context<'_>,
        config: String,
        truss_user_env: Option<String>,
    ) -> Result<TrussValidation> {
        let _ = truss_user_env; // nothing that we check depends on it
        let payload = Payload::new(scalars::decoded_json("config", &config)?);
        let (success, details) = match push::validate(&scene(context).control_plane, payload, "truss") {
            Ok(warnings) => (true, json!({ "errors": [], "warnings": warnings })),
            Err(ops::Error::Invalid(problems)) => (false, json!({ "errors": [problems], "warnings": [] })),
            Err(other) => return Err(refused(other)),
        };
        Ok(TrussValidation { success, details: details.to_string() })
    }

    /// Where the patches of a model's development deployment stand.
    async fn truss_watch_state(&self, context: &Context<'_>, id: ID) -> Result<WatchState> {
        patches::watch_state(context, &id).await
    }

    /// Credentials that are good for one upload.
    #[graphql(name = "model_s3_upload_credentials")]
    async fn upload_credentials(&self, context: &Context<'_>) -> Result<UploadCredentials> {
        let scene = scene(context);
        let issued = uploads::credentials(&scene.control_plane, &scene.caller).await.map_err(refused)?;
        Ok(UploadCredentials {
            s3_bucket: issued.bucket,
            s3_key: issued.key,
            aws_access_key_id: issued.access_key_id,
            aws_secret_access_key: issued.secret_access_key,
            aws_session_token: issued.session_token,
        })
    }
}

/// What is to be said of a config.
#[derive(SimpleObject)]
struct TrussValidation {
    success: bool,
    /// JSON: lists of `errors` and `warnings`.
    details: String,
}

/// Credentials for an upload. Where it goes is added to the answer.
#[derive(SimpleObject)]
#[graphql(rename_fields = "snake_case")]
struct UploadCredentials {
    #[graphql(name = "s3_bucket")]
    s3_bucket: String,
    #[graphql(name = "s3_key")]
    s3_key: String,
    aws_access_key_id: String,
    aws_secret_access_key: String,
    aws_session_token: String,
}

/// A text that cannot be an id names nothing.
pub fn id<T: std::str::FromStr>(kind: &'static str, text: &ID) -> Result<T> {
    text.parse().map_err(|_| refused(ops::Error::NotFound { kind, id: text.to_string() }))
}
