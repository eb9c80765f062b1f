//! The wire types against the contract's schemas: what we answer validates, what clients send is read.

use std::{fmt::Debug, sync::LazyLock};

use api::v1::{
    api_keys::{APIKey, APIKeyCategory, APIKeyInfo, APIKeyOwner, APIKeyTombstone, APIKeys, CreateAPIKeyRequest},
    audit_logs::{AuditLogActor, AuditLogActorType, AuditLogEntry, AuditLogSource, ListAuditLogsResponse},
    autoscaling::{
        AutoscalingSettings, UpdateAutoscalingSettings, UpdateAutoscalingSettingsResponse,
        UpdateAutoscalingSettingsStatus,
    },
    backpressure::RequestBackpressureSettings,
    deployments::{
        ActivateResponse, CreateModelDeploymentRequest, DeactivateResponse, Deployment, DeploymentConfigResponse,
        DeploymentStatus, DeploymentTombstone, Deployments, DownloadDeploymentResponse, FailureReason,
        RetryDeploymentResponse, TerminateReplicaResponse, UpdateDeploymentRequest,
    },
    environment_groups::{
        EnvironmentGroup, EnvironmentGroupManageAccess, EnvironmentGroupUser, EnvironmentGroups,
        UpdateEnvironmentGroupRequest,
    },
    environments::{
        CreateEnvironmentRequest, Environment, EnvironmentTombstone, Environments, UpdateEnvironmentRequest,
        UpdateEnvironmentResponse,
    },
    instance_types::{InstanceType, InstanceTypePrices, InstanceTypeWithPrice, InstanceTypes},
    logs::{GetDeploymentLogsRequest, GetLogsResponse, Log, LogLevel, SortOrder},
    models::{CreateModelRequest, CreatedModelDeployment, Model, ModelTombstone, Models},
    organizations::OrganizationInfo,
    pagination::PaginationResponse,
    promotion::{
        InProgressPromotion, InProgressPromotionStatus, PromotionSettings, RollingDeployConfig, UpdatePromotionSettings,
    },
    promotions::{
        CancelPromotionResponse, CancelPromotionStatus, PromoteRequest, PromoteToEnvironmentRequest, RollbackRequest,
        SignalPromotionResponse,
    },
    regions::{LocationInfo, Region, Regions},
    secrets::{Secret, SecretTombstone, Secrets, UpsertSecretRequest},
    teams::{Team, Teams},
    time::rfc3339,
    uploads::{AWSCredentials, PrepareModelUploadRequest, PrepareModelUploadResponse},
    users::{Membership, Role, UserInfo, UsersResponse},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/contract/schemas.json")).expect("the schemas are JSON")
});

#[track_caller]
fn validates(name: &str, body: &Value) {
    let mut schema = SCHEMAS.clone();
    assert!(schema["$defs"][name].is_object(), "the contract has no {name}");
    schema["$ref"] = format!("#/$defs/{name}").into();
    let validator =
        jsonschema::options().should_validate_formats(true).build(&schema).expect("the schemas are schemas");
    let errors: Vec<_> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name} {body:#}: {errors:#?}");
}

/// An answer validates, and a client of ours reads it back.
#[track_caller]
fn answers<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, body: T) {
    let sent = serde_json::to_value(&body).expect("an answer can be written");
    validates(name, &sent);
    assert_eq!(serde_json::from_value::<T>(sent).expect("an answer can be read back"), body);
}

/// A body that the contract allows is read; what we would send for it is allowed too.
#[track_caller]
fn reads<T: Serialize + DeserializeOwned>(name: &str, body: Value) -> T {
    validates(name, &body);
    let request: T = serde_json::from_value(body).expect("the request can be read");
    validates(name, &serde_json::to_value(&request).expect("the request can be written"));
    request
}

fn now() -> String {
    rfc3339(1_767_323_045_678)
}

fn deployment() -> Deployment {
    Deployment {
        id: "w52yvzr".into(),
        created_at: now(),
        name: "deployment-1".into(),
        model_id: "3ydn1e43".into(),
        is_production: true,
        is_development: false,
        status: DeploymentStatus::Active,
        active_replica_count: 1,
        autoscaling_settings: Some(autoscaling()),
        instance_type_name: Some("1x2".into()),
        environment: Some("production".into()),
        labels: json!({"team": "red"}).as_object().cloned(),
        region: Some(Region { slug: "here".into(), display_name: "Here".into() }),
        request_backpressure_settings: RequestBackpressureSettings::default(),
        status_reason: None,
        failure_reason: None,
    }
}

fn failed_deployment() -> Deployment {
    let failure_reason =
        FailureReason { message: "`load` raised ValueError".into(), hint: None, detail: Some("Traceback".into()) };
    Deployment {
        status: DeploymentStatus::DeployFailed,
        autoscaling_settings: None,
        instance_type_name: None,
        environment: None,
        labels: None,
        region: None,
        status_reason: Some("the start was given up".into()),
        failure_reason: Some(failure_reason),
        ..deployment()
    }
}

fn autoscaling() -> AutoscalingSettings {
    AutoscalingSettings {
        min_replica: 0,
        max_replica: 1,
        autoscaling_window: Some(60),
        scale_down_delay: Some(900),
        concurrency_target: 1,
        target_utilization_percentage: Some(70),
        target_in_flight_tokens: None,
        max_scale_down_rate: Some(50),
    }
}

fn model() -> Model {
    Model {
        id: "3ydn1e43".into(),
        created_at: now(),
        name: "iris".into(),
        deployments_count: 1,
        production_deployment_id: None,
        development_deployment_id: None,
        instance_type_name: "1x2".into(),
        team_name: "default".into(),
    }
}

fn instance_type() -> InstanceType {
    InstanceType {
        id: "1x2".into(),
        name: "1x2".into(),
        memory_limit_mib: 2_048,
        millicpu_limit: 1_000,
        gpu_count: 0,
        gpu_type: None,
        gpu_memory_limit_mib: None,
    }
}

fn environment() -> Environment {
    Environment {
        name: "production".into(),
        created_at: now(),
        model_id: "3ydn1e43".into(),
        current_deployment: Some(deployment()),
        candidate_deployment: None,
        in_progress_promotion: None,
        autoscaling_settings: autoscaling(),
        promotion_settings: PromotionSettings {
            rolling_deploy_config: Some(RollingDeployConfig::default()),
            ..PromotionSettings::default()
        },
        instance_type: instance_type(),
        request_backpressure_settings: RequestBackpressureSettings::default(),
    }
}

fn secret() -> Secret {
    Secret { id: "3kZ9xqd".into(), created_at: now(), name: "hf_token".into(), team_name: "default".into() }
}

fn key() -> APIKeyInfo {
    APIKeyInfo {
        prefix: "abcd1234".into(),
        name: None,
        category: APIKeyCategory::Personal,
        model_ids: None,
        environment_names: None,
        requests_per_minute: None,
        expires_at: None,
        team_name: None,
        created_at: now(),
        last_used_at: None,
        owner: Some(APIKeyOwner { user_id: "u".into(), email: Some("a@b".into()), name: None }),
    }
}

fn user() -> UserInfo {
    UserInfo {
        user_id: "u".into(),
        email: None,
        name: None,
        workspace_name: Some("greenroom".into()),
        role: Role::Member,
        teams: vec![Membership { team_id: "t".into(), role: Role::Admin }],
    }
}

#[test]
fn answers_about_models_and_deployments_validate() {
    answers("Model", model());
    answers("Models", Models { models: vec![model()] });
    answers("ModelTombstone", ModelTombstone { id: "3ydn1e43".into(), deleted: true });
    answers("Deployment", deployment());
    answers("Deployment", failed_deployment());
    answers("Deployments", Deployments { deployments: vec![deployment(), failed_deployment()] });
    let tombstone = DeploymentTombstone { id: "w52yvzr".into(), deleted: true, model_id: "3ydn1e43".into() };
    answers("DeploymentTombstone", tombstone);
    answers("CreatedModelDeployment", CreatedModelDeployment { model: model(), deployment: deployment() });
    answers("ActivateResponse", ActivateResponse { success: true });
    answers("DeactivateResponse", DeactivateResponse { success: true });
    answers("TerminateReplicaResponse", TerminateReplicaResponse { success: true });
    let refused = RetryDeploymentResponse { retried: false, reason: Some("no".into()), deployment: deployment() };
    answers("RetryDeploymentResponse", refused);
    answers("DeploymentConfigResponse", DeploymentConfigResponse::default());
    answers("DownloadDeploymentResponse", DownloadDeploymentResponse { download_url: "http://x/y".into() });
    let settings = UpdateAutoscalingSettingsResponse {
        status: UpdateAutoscalingSettingsStatus::Unchanged,
        message: "nothing differs".into(),
    };
    answers("UpdateAutoscalingSettingsResponse", settings);
}

#[test]
fn every_status_is_one_of_the_contracts() {
    use DeploymentStatus::*;
    let all = [
        Building,
        Deploying,
        DeployFailed,
        LoadingModel,
        Active,
        Unhealthy,
        BuildFailed,
        BuildStopped,
        Deactivating,
        Inactive,
        Failed,
        Updating,
        ScaledToZero,
        WakingUp,
    ];
    for status in all {
        answers("Deployment", Deployment { status, ..deployment() });
    }
    let known = SCHEMAS["$defs"]["Deployment"]["properties"]["status"]["enum"].as_array().unwrap();
    assert_eq!(known.len(), all.len());
}

#[test]
fn answers_about_environments_validate() {
    answers("Environment", environment());
    answers("Environment", Environment { current_deployment: None, ..environment() });
    answers("Environments", Environments { environments: vec![environment()] });
    let tombstone = EnvironmentTombstone { name: "staging".into(), model_id: "3ydn1e43".into(), deleted: true };
    answers("EnvironmentTombstone", tombstone);
    let updated = UpdateEnvironmentResponse {
        environment: environment(),
        status: UpdateAutoscalingSettingsStatus::Accepted,
        message: "done".into(),
    };
    answers("UpdateEnvironmentResponse", updated);
}

#[test]
fn answers_about_the_installation_validate() {
    answers("InstanceTypes", InstanceTypes { instance_types: vec![instance_type()] });
    let priced = InstanceTypeWithPrice { instance_type: instance_type(), price: 0.0 };
    answers("InstanceTypePrices", InstanceTypePrices { instance_types: vec![priced] });
    answers("Secrets", Secrets { secrets: vec![secret()] });
    answers("Secret", secret());
    answers("SecretTombstone", SecretTombstone { name: "hf_token".into() });
    answers("APIKeys", APIKeys { keys: vec![key()] });
    answers("APIKey", APIKey { api_key: "abcd1234.secret".into() });
    answers("APIKeyTombstone", APIKeyTombstone { prefix: "abcd1234".into() });
    let team = Team { id: "t".into(), name: "default".into(), default: true, created_at: now() };
    answers("Team", team.clone());
    answers("Teams", Teams { teams: vec![team] });
    answers("UserInfo", user());
    answers("UsersResponse", UsersResponse { items: vec![user()], pagination: PaginationResponse::default() });
    let organization = OrganizationInfo { org_id: "o".into(), name: Some("greenroom".into()), created_at: now() };
    answers("OrganizationInfo", organization);
    let region = Region { slug: "here".into(), display_name: "Here".into() };
    let place = LocationInfo {
        region,
        country: Some("fr".into()),
        continent: None,
        coordinates: None,
        flavors: Vec::new(),
        is_healthy: true,
        unhealthy_reason: None,
        unhealthy_since: None,
    };
    answers("Regions", Regions { regions: vec![place] });
    let log = Log {
        timestamp: "1767323045678000000".into(),
        message: "hello".into(),
        replica: None,
        request_id: None,
        level: Some(LogLevel::Warning),
    };
    answers("GetLogsResponse", GetLogsResponse { logs: vec![log] });
    let credentials = AWSCredentials {
        aws_access_key_id: "a".into(),
        aws_secret_access_key: "b".into(),
        aws_session_token: "c".into(),
        endpoint_url: Some("http://127.0.0.1:8000".into()),
    };
    let upload = PrepareModelUploadResponse {
        creds: Some(credentials),
        s3_bucket: Some("greenroom-uploads".into()),
        s3_key: Some("k".into()),
        s3_region: Some("us-east-1".into()),
    };
    answers("PrepareModelUploadResponse", upload);
    answers("PrepareModelUploadResponse", PrepareModelUploadResponse::default());
}

#[test]
fn an_audit_log_validates() {
    let entry = AuditLogEntry {
        id: "1".into(),
        created: now(),
        event_type: "SECRET_UPDATED".into(),
        event_data: json!({"event_type": "SECRET_UPDATED", "secret_id": "3kZ9xqd", "secret_name": "hf_token"}),
        source: Some(AuditLogSource::Api),
        actor: AuditLogActor {
            kind: AuditLogActorType::ApiKey,
            email: None,
            api_key_prefix: Some("abcd1234".into()),
            api_key_name: None,
        },
        client_name: None,
        client_version: None,
        client_session_id: None,
    };
    let pagination = PaginationResponse { has_more: true, cursor: Some("1".into()) };
    answers("ListAuditLogsResponse", ListAuditLogsResponse { items: vec![entry], pagination });
}

#[test]
fn what_clients_were_recorded_to_send_is_read() {
    let request: PrepareModelUploadRequest = reads(
        "PrepareModelUploadRequest",
        json!({"deployment": {"config": {"model_name": "sdkmodel"}}, "name": "sdkmodel"}),
    );
    assert!(request.deployment.preserve_env_instance_type && !request.dry_run);

    let without_kind = json!({"source": {"name": "m", "deployment": {"config": {"model_name": "m"}}, "s3_key": null}});
    let request: CreateModelRequest = reads("CreateModelRequest", without_kind);
    assert_eq!(request.source.name, "m");

    let with_kind = json!({"source": {"kind": "model_archive", "s3_key": "k", "deployment": {
        "config": {}, "raw_config": "a: b\n", "user_env": {"x": 1}, "environment_name": "staging", "labels": {"a": [1]},
        "deploy_timeout_minutes": 30, "deployment_name": "one", "is_development": false,
        "preserve_env_instance_type": false}}});
    let request: CreateModelDeploymentRequest = reads("CreateModelDeploymentRequest", with_kind);
    assert_eq!(request.source.deployment.deploy_timeout_minutes, Some(30));

    let window = json!({"start_epoch_millis": 1_795_167_201_164_u64, "end_epoch_millis": 1_795_170_801_164_u64,
        "min_level": "INFO", "includes": ["stub"]});
    let request: GetDeploymentLogsRequest = reads("GetDeploymentLogsRequest", window);
    assert_eq!(request.min_level, Some(LogLevel::Info));
    let request: GetDeploymentLogsRequest =
        reads("GetDeploymentLogsRequest", json!({"direction": "asc", "includes": null}));
    assert_eq!(request.direction, Some(SortOrder::Asc));
    assert_eq!(reads::<GetDeploymentLogsRequest>("GetDeploymentLogsRequest", json!({})), Default::default());
}

#[test]
fn other_requests_are_read() {
    let key: CreateAPIKeyRequest =
        reads("CreateAPIKeyRequest", json!({"type": "WORKSPACE_INVOKE", "model_ids": ["a"]}));
    assert_eq!(key.category, APIKeyCategory::WorkspaceInvoke);
    reads::<UpsertSecretRequest>("UpsertSecretRequest", json!({"name": "a", "value": "b"}));
    reads::<UpdateDeploymentRequest>("UpdateDeploymentRequest", json!({"name": "b"}));
    let environment: CreateEnvironmentRequest = reads(
        "CreateEnvironmentRequest",
        json!({"name": "staging", "autoscaling_settings": {"min_replica": 1},
            "promotion_settings": {"rolling_deploy_config": {"max_surge_percent": 20}}}),
    );
    assert_eq!(environment.autoscaling_settings.unwrap().min_replica, Some(1));
    reads::<UpdateEnvironmentRequest>(
        "UpdateEnvironmentRequest",
        json!({"autoscaling_settings": {"max_replica": null}}),
    );
}

#[test]
fn environment_groups_validate_and_their_changes_are_read() {
    let user = EnvironmentGroupUser { user_id: "u".into(), email: Some("a@b".into()), name: None };
    let group = EnvironmentGroup {
        name: "production".into(),
        team_id: "t".into(),
        team_name: "default".into(),
        manage_access: EnvironmentGroupManageAccess { is_restricted: true, users: Some(vec![user]) },
    };
    answers("EnvironmentGroup", group.clone());
    answers("EnvironmentGroups", EnvironmentGroups { items: vec![group], pagination: PaginationResponse::default() });
    let change: UpdateEnvironmentGroupRequest =
        reads("UpdateEnvironmentGroupRequest", json!({"manage_access": {"is_restricted": true, "user_ids": null}}));
    assert_eq!(change.manage_access.map(|access| access.user_ids), Some(None));
    assert_eq!(reads::<UpdateEnvironmentGroupRequest>("UpdateEnvironmentGroupRequest", json!({})), Default::default());
}

#[test]
fn requests_to_promote_are_read() {
    assert_eq!(reads::<PromoteRequest>("PromoteRequest", json!({})), PromoteRequest::default());
    let promote: PromoteRequest = reads(
        "PromoteRequest",
        json!({"scale_down_previous_production": false, "environment_settings_update": null,
            "promotion_settings_override": {"rolling_deploy_config": {"max_surge_percent": 50}}}),
    );
    assert!(promote.preserve_env_instance_type && !promote.scale_down_previous_production);
    let to_staging: PromoteToEnvironmentRequest =
        reads("PromoteToEnvironmentRequest", json!({"deployment_id": "abc1234", "preserve_env_instance_type": false}));
    assert!(to_staging.scale_down_previous_deployment && !to_staging.preserve_env_instance_type);
    assert_eq!(serde_json::from_value::<RollbackRequest>(json!({})).unwrap(), RollbackRequest { immediate: true });
}

#[test]
fn answers_about_promotions_validate() {
    let progress = InProgressPromotion {
        status: InProgressPromotionStatus::RampingUp,
        percent_traffic_to_new_version: 40,
        error_message: None,
        rolling_deploy: Some(true),
    };
    answers("InProgressPromotion", progress);
    let canceled = CancelPromotionResponse { status: CancelPromotionStatus::RampingDown, message: "m".into() };
    answers("CancelPromotionResponse", canceled);
    answers("SignalPromotionResponse", SignalPromotionResponse { success: true });
}

#[test]
fn a_setting_that_does_not_exist_is_refused_by_name() {
    let error =
        serde_json::from_value::<UpdateAutoscalingSettings>(json!({"max_replicas": 2})).unwrap_err().to_string();
    assert!(error.contains("unknown field `max_replicas`"), "{error}");
    serde_json::from_value::<UpdateEnvironmentRequest>(json!({"colour": 2})).unwrap_err();
    serde_json::from_value::<UpdatePromotionSettings>(json!({"colour": 2})).unwrap_err();
    serde_json::from_value::<UpdatePromotionSettings>(json!({"rolling_deploy_config": {"colour": 2}})).unwrap_err();
    serde_json::from_value::<PromoteRequest>(json!({"colour": 2})).unwrap_err();
    serde_json::from_value::<UpdateDeploymentRequest>(json!({"colour": 2})).unwrap_err();
}

#[test]
fn a_source_that_is_no_archive_is_refused() {
    let listing = json!({"source": {"kind": "library_listing", "name": "m", "deployment": {"config": {}}}});
    let error = serde_json::from_value::<CreateModelRequest>(listing).unwrap_err().to_string();
    assert!(error.contains("unknown variant `library_listing`, expected `model_archive`"), "{error}");
}

#[test]
fn what_is_confidential_does_not_reach_a_log() {
    let secret = UpsertSecretRequest { name: "a".into(), value: "hunter2".into() };
    let key = APIKey { api_key: "prefix.hunter2".into() };
    let credentials = AWSCredentials {
        aws_access_key_id: "id".into(),
        aws_secret_access_key: "hunter2".into(),
        aws_session_token: "hunter2".into(),
        endpoint_url: None,
    };
    assert!(!format!("{secret:?} {key:?} {credentials:?}").contains("hunter2"));
}
