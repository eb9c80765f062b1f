//! What is promoted: the deployment itself, or a copy of it; or nothing, and why. Behaviour 3.4.
//!
//! A copy shares what was built, gets an id of its own and runs `load()` again. It is made only where the deployment itself will not
//! do, because starting it takes time.

use std::fmt;

use api::v1::promotion::PromotionSettings;
use planner::{Timestamp, lifecycle::Status};
use store::domain::{Deployment, DeploymentKind, Environment};

/// The longest name of a deployment.
const LONGEST_NAME: usize = 255;

/// All that the choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What is asked to be promoted.
    pub deployment: &'a Deployment,
    /// Where it stands.
    pub status: Status,
    /// An environment that it serves; this one where it serves several.
    pub serves: Option<&'a str>,
    /// The environment that a promotion under way brings it to.
    pub candidate_for: Option<&'a str>,
    /// Where it is to go.
    pub environment: &'a Environment,
    /// What that environment serves now.
    pub current: Option<&'a Deployment>,
    /// Whether it has a promotion under way.
    pub is_busy: bool,
    /// How this promotion goes.
    pub settings: &'a PromotionSettings,
    /// Whether the environment keeps its instance type.
    pub keeps_instance_type: bool,
}

/// What is promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The deployment itself.
    Itself,
    /// A copy of it.
    Copy {
        /// Why; at least one reason.
        reasons: Vec<Reason>,
        /// On which instance type.
        instance_type: String,
    },
}

impl Choice {
    /// Why a copy is made; empty where none is.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Choice::Itself => &[],
            Choice::Copy { reasons, .. } => reasons,
        }
    }
}

/// Why a copy is promoted in place of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is a development deployment.
    Development,
    /// This environment serves it.
    Serves(String),
    /// The environment wants every deployment to be started for it.
    Redeploy,
    /// It has another instance type.
    InstanceType {
        /// Its own.
        has: String,
        /// The environment's.
        needs: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Development => f.write_str("a development deployment stays what it is"),
            Reason::Serves(name) => write!(f, "environment {name} serves it"),
            Reason::Redeploy => f.write_str("the promotion settings have redeploy_on_promotion"),
            Reason::InstanceType { has, needs } => write!(f, "it runs on {has} and the environment on {needs}"),
        }
    }
}

/// Why nothing is promoted, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The environment has a promotion under way.
    Busy {
        /// The environment.
        environment: String,
    },
    /// The deployment is a candidate of another promotion.
    Candidate {
        /// Its environment.
        environment: String,
    },
    /// The environment serves it already.
    Current {
        /// The environment.
        environment: String,
    },
    /// It rests.
    Inactive,
    /// It cannot run.
    Failed(Status),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Busy { environment } => {
                write!(
                    f,
                    "environment {environment} has a promotion in progress: cancel it, or wait until it has ended"
                )
            }
            Refusal::Candidate { environment } => {
                write!(f, "it is being promoted to environment {environment}: wait until that has ended")
            }
            Refusal::Current { environment } => write!(
                f,
                "environment {environment} serves it already: with redeploy_on_promotion it would get a fresh copy"
            ),
            Refusal::Inactive => f.write_str("it is inactive: activate it first"),
            Refusal::Failed(status) => write!(f, "it is in status {status}: retry it, or promote another deployment"),
        }
    }
}

/// Chooses what is promoted.
pub fn choose(case: &Case<'_>) -> Result<Choice, Refusal> {
    let here = &case.environment.name;
    if case.is_busy {
        return Err(Refusal::Busy { environment: here.clone() });
    }
    if let Some(environment) = case.candidate_for {
        return Err(Refusal::Candidate { environment: environment.into() });
    }
    let redeploys = case.settings.redeploy_on_promotion == Some(true);
    if case.environment.current.as_ref() == Some(&case.deployment.id) && !redeploys {
        return Err(Refusal::Current { environment: here.clone() });
    }
    match case.status {
        Status::Inactive | Status::Deactivating => return Err(Refusal::Inactive),
        Status::BuildFailed | Status::BuildStopped | Status::DeployFailed | Status::Failed => {
            return Err(Refusal::Failed(case.status));
        }
        Status::Building
        | Status::Deploying
        | Status::LoadingModel
        | Status::Active
        | Status::Updating
        | Status::Unhealthy
        | Status::ScaledToZero
        | Status::WakingUp => {}
    }
    let has = &case.deployment.instance_type;
    // Only what an environment serves gives it an instance type.
    let needs = case.current.filter(|_| case.keeps_instance_type).map_or(has, |current| &current.instance_type);
    let reasons: Vec<Reason> = [
        (case.deployment.kind == DeploymentKind::Development).then_some(Reason::Development),
        case.serves.map(|name| Reason::Serves(name.into())),
        redeploys.then_some(Reason::Redeploy),
        (has != needs).then(|| Reason::InstanceType { has: has.clone(), needs: needs.clone() }),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(if reasons.is_empty() { Choice::Itself } else { Choice::Copy { reasons, instance_type: needs.clone() } })
}

/// The name of a copy: the source's, and when it was made, in seconds; the next second that is free. A copy of a copy is named
/// after what both were made from.
pub fn copy_name(source: &str, now: Timestamp, is_taken: impl Fn(&str) -> bool) -> String {
    let is_moment = |suffix: &str| suffix.len() >= 10 && suffix.bytes().all(|byte| byte.is_ascii_digit());
    let source =
        source.rsplit_once('.').filter(|(_, suffix)| is_moment(suffix)).map_or(source, |(original, _)| original);
    let name = |second: u64| {
        let suffix = format!(".{second}");
        let kept: String = source.chars().take(LONGEST_NAME - suffix.len()).collect();
        kept + &suffix
    };
    let second = now.0 / 1000;
    (second..).map(name).find(|name| !is_taken(name)).expect("there are more seconds than deployments")
}

#[cfg(test)]
mod tests {
    use api::id::{DeploymentId, ModelId};
    use planner::{autoscale, lifecycle::Lifecycle, replica_set};
    use serde_json::json;
    use store::domain::{Archive, PRODUCTION};

    use super::*;

    fn deployment(entropy: u128, instance_type: &str) -> Deployment {
        Deployment {
            id: DeploymentId::from_entropy(entropy),
            model_id: ModelId::from_entropy(1),
            name: format!("deployment-{entropy}"),
            created_at: Timestamp(0),
            kind: DeploymentKind::Published,
            labels: None,
            config: json!({}),
            raw_config: None,
            user_env: None,
            archive: Archive { key: "k".into(), bytes: 1 },
            deploy_timeout_ms: 1,
            instance_type: instance_type.into(),
            autoscaling: autoscale::Settings::default(),
            backpressure: None,
            patches: None,
            target_environment: None,
            keep_previous: false,
            lifecycle: Lifecycle::pushed(Timestamp(0)),
            target_replicas: 0,
            replica_memory: replica_set::Memory::default(),
            generation: 1,
        }
    }

    /// Changes one thing about a promotion of an active deployment into an environment that serves another one.
    fn outcome(change: impl Fn(&mut Case<'_>, &mut Deployment, &mut PromotionSettings)) -> Result<Choice, Refusal> {
        let (mut one, mut settings) = (deployment(1, "1x2"), PromotionSettings::default());
        let (old, environment) = (deployment(2, "1x2"), environment(2));
        let (template, template_settings) = (one.clone(), settings.clone());
        let mut case = Case {
            deployment: &template,
            status: Status::Active,
            serves: None,
            candidate_for: None,
            environment: &environment,
            current: Some(&old),
            is_busy: false,
            settings: &template_settings,
            keeps_instance_type: true,
        };
        change(&mut case, &mut one, &mut settings);
        choose(&Case { deployment: &one, settings: &settings, ..case })
    }

    fn environment(current: u128) -> Environment {
        Environment {
            model_id: ModelId::from_entropy(1),
            name: PRODUCTION.into(),
            created_at: Timestamp(0),
            current: Some(DeploymentId::from_entropy(current)),
            autoscaling: autoscale::Settings::default(),
            backpressure: None,
            promotion_settings: json!({}),
            generation: 1,
        }
    }

    fn copy(reasons: &[Reason], instance_type: &str) -> Result<Choice, Refusal> {
        Ok(Choice::Copy { reasons: reasons.to_vec(), instance_type: instance_type.into() })
    }

    #[test]
    fn a_deployment_of_its_own_is_promoted_as_it_is_wherever_it_stands() {
        for status in [
            Status::Building,
            Status::Deploying,
            Status::LoadingModel,
            Status::Active,
            Status::Updating,
            Status::Unhealthy,
            Status::ScaledToZero,
            Status::WakingUp,
        ] {
            assert_eq!(outcome(|case, _, _| case.status = status), Ok(Choice::Itself), "{status}");
        }
    }

    #[test]
    fn every_reason_for_a_copy_is_one_by_itself_and_all_are_told() {
        assert_eq!(outcome(|_, one, _| one.kind = DeploymentKind::Development), copy(&[Reason::Development], "1x2"));
        assert_eq!(
            outcome(|case, _, _| case.serves = Some("staging")),
            copy(&[Reason::Serves("staging".into())], "1x2")
        );
        assert_eq!(
            outcome(|_, _, settings| settings.redeploy_on_promotion = Some(true)),
            copy(&[Reason::Redeploy], "1x2")
        );
        let other_type = Reason::InstanceType { has: "4x16".into(), needs: "1x2".into() };
        assert_eq!(
            outcome(|_, one, _| one.instance_type = "4x16".into()),
            copy(std::slice::from_ref(&other_type), "1x2")
        );
        let all = outcome(|case, one, settings| {
            case.serves = Some("staging");
            one.kind = DeploymentKind::Development;
            one.instance_type = "4x16".into();
            settings.redeploy_on_promotion = Some(true);
        });
        let reasons = [Reason::Development, Reason::Serves("staging".into()), Reason::Redeploy, other_type];
        assert_eq!(all, copy(&reasons, "1x2"));
    }

    #[test]
    fn the_deployments_instance_type_wins_where_asked_and_where_nothing_is_served() {
        let outcome_with = |keeps: bool, is_empty: bool| {
            outcome(move |case, one, _| {
                one.instance_type = "4x16".into();
                case.keeps_instance_type = keeps;
                case.current = case.current.filter(|_| !is_empty);
            })
        };
        assert_eq!(outcome_with(false, false), Ok(Choice::Itself));
        assert_eq!(outcome_with(true, true), Ok(Choice::Itself));
        let copied = outcome(|case, one, settings| {
            one.instance_type = "4x16".into();
            case.keeps_instance_type = false;
            settings.redeploy_on_promotion = Some(true);
        });
        assert_eq!(copied, copy(&[Reason::Redeploy], "4x16"));
    }

    #[test]
    fn what_cannot_be_promoted_is_refused_by_its_reason() {
        let here = || PRODUCTION.to_owned();
        assert_eq!(outcome(|case, _, _| case.is_busy = true), Err(Refusal::Busy { environment: here() }));
        assert_eq!(
            outcome(|case, _, _| case.candidate_for = Some("staging")),
            Err(Refusal::Candidate { environment: "staging".into() })
        );
        for status in [Status::Inactive, Status::Deactivating] {
            assert_eq!(outcome(|case, _, _| case.status = status), Err(Refusal::Inactive), "{status}");
        }
        for status in [Status::BuildFailed, Status::BuildStopped, Status::DeployFailed, Status::Failed] {
            assert_eq!(outcome(|case, _, _| case.status = status), Err(Refusal::Failed(status)), "{status}");
        }
    }

    #[test]
    fn what_is_served_already_is_promoted_only_as_a_fresh_copy() {
        let again = |redeploys: bool| {
            outcome(move |case, one, settings| {
                *one = deployment(2, "1x2");
                case.serves = Some(PRODUCTION);
                settings.redeploy_on_promotion = Some(redeploys);
            })
        };
        assert_eq!(again(false), Err(Refusal::Current { environment: PRODUCTION.into() }));
        assert_eq!(again(true), copy(&[Reason::Serves(PRODUCTION.into()), Reason::Redeploy], "1x2"));
    }

    #[test]
    fn a_copy_is_named_after_its_source_and_the_second() {
        let now = Timestamp(1_767_323_045_678);
        assert_eq!(copy_name("blue", now, |_| false), "blue.1767323045");
        assert_eq!(copy_name("blue.1767000000", now, |_| false), "blue.1767323045");
        assert_eq!(copy_name("blue.green", now, |_| false), "blue.green.1767323045");
        assert_eq!(copy_name("blue", now, |name| name == "blue.1767323045"), "blue.1767323046");
        let long = copy_name(&"x".repeat(255), now, |_| false);
        assert_eq!((long.len(), long.ends_with(".1767323045")), (255, true));
    }
}
