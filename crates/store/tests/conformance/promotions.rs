//! Promotions: begun, commanded, saved, ended.

use api::id::{DeploymentId, ReplicaId};
use futures::future::join_all;
use planner::{
    Timestamp,
    lifecycle::{Build, Lifecycle, Run, Wanted},
    policy::written,
    promotion::{Cleanup, Command, Ending, Phase, Room},
};
use store::{
    AuditQuery, Candidate, CopyOf, Error, LogQuery, NewPromotion, PoliciesOf, Store,
    domain::{Change, ChangeKind, Deployment, DeploymentKind, Difference, Model, Origin, PRODUCTION, Part, Promotion},
};

use crate::{fixtures::*, support::Database};

const LATER: Timestamp = Timestamp(NOW.0 + 1_000);

/// A deployment that has been active, and runs with one replica.
async fn active(store: &Store, model: &Model, number: u128) -> Deployment {
    let pushed = store.add_deployment(&push(model, number), None).await.unwrap();
    activate(store, &pushed.id, number).await
}

async fn activate(store: &Store, id: &DeploymentId, number: u128) -> Deployment {
    let serve = |deployment: &mut Deployment| {
        let built = deployment.lifecycle.clone().build_finished(deployment.created_at, NOW, Ok("artifact".into()));
        let run = Run::Serving { since: NOW };
        deployment.lifecycle = Lifecycle { run, first_ready: Some(NOW), ..built };
        deployment.autoscaling.min_replica = 1;
        deployment.target_replicas = 1;
        Ok::<(), Error>(())
    };
    let (deployment, ()) = store.change_deployment(id, None, serve).await.unwrap();
    store.add_replica(&replica(number, &deployment)).await.unwrap();
    deployment
}

async fn messages(store: &Store, id: &DeploymentId) -> Vec<String> {
    let query = LogQuery { deployments: vec![id.clone()], end_ms: u64::MAX, limit: 99, ..LogQuery::default() };
    store.logs(&query).await.unwrap().into_iter().map(|record| record.line.message).collect()
}

async fn current(store: &Store, model: &Model) -> Option<DeploymentId> {
    store.environment(&model.id, PRODUCTION).await.unwrap().current
}

async fn is_stopping(store: &Store, id: &DeploymentId) -> bool {
    store.replicas(Some(id)).await.unwrap().iter().all(|replica| replica.stopping_since.is_some())
}

/// Production's current deployment, a candidate for it that is active, and the promotion that is under way.
async fn under_way(store: &Store, cleanup: Cleanup) -> (Model, Deployment, Deployment, Promotion) {
    let (model, first) = with_model(store).await;
    let first = activate(store, &first.id, 1).await;
    serve(store, &model, PRODUCTION, &first.id).await;
    let second = active(store, &model, 2).await;
    let mut new = promotion(&model, PRODUCTION, Candidate::Existing(second.id.clone()), Some(&first.id));
    new.settings.cleanup = cleanup;
    let begun = store.begin_promotion(&new, None).await.unwrap();
    (model, first, second, begun)
}

async fn finish(store: &Store, promotion: &Promotion, ending: Ending) -> Promotion {
    let mut ended = promotion.clone();
    ended.state.phase = Phase::Ended { at: LATER, ending };
    store.finish_promotion(&mut ended, LATER, None).await.unwrap();
    assert_eq!(store.promotion(promotion.id).await.unwrap(), ended);
    ended
}

fn failed() -> Ending {
    Ending::Failed { reason: "`load` raised ValueError: boom".into() }
}

fn canceled() -> Ending {
    Ending::Canceled { reason: "by a person".into() }
}

pub async fn one_that_is_begun_reads_back_until_it_ends(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::ScaleToZero).await;
    assert_eq!((&begun.candidate, begun.previous.as_ref()), (&second.id, Some(&first.id)));
    assert_eq!((begun.started_at, begun.ended_at, begun.origin), (NOW, None, Origin::Person));
    assert_eq!((begun.requested_by.as_deref(), begun.why.as_str()), (Some("adminkey"), "waiting for the candidate"));
    assert_eq!(store.active_promotions().await.unwrap(), std::slice::from_ref(&begun));
    assert_eq!(store.active_promotion(&model.id, PRODUCTION).await.unwrap(), Some(begun.clone()));
    assert_eq!(store.promotion_history(&model.id, PRODUCTION, 9).await.unwrap(), std::slice::from_ref(&begun));
    assert_eq!(store.active_promotion(&model.id, "staging").await.unwrap(), None);

    let ended = finish(&store, &begun, canceled()).await;
    assert_eq!(store.active_promotions().await.unwrap(), []);
    let candidate = Candidate::Existing(second.id);
    let next = promotion(&model, PRODUCTION, candidate, Some(&first.id));
    let next = store.begin_promotion(&next, None).await.unwrap();
    assert_eq!(store.promotion_history(&model.id, PRODUCTION, 9).await.unwrap(), [next.clone(), ended]);
    assert_eq!(store.promotion_history(&model.id, PRODUCTION, 1).await.unwrap(), [next]);
}

pub async fn of_several_that_begin_at_once_one_does(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut begins = Vec::new();
    for number in 2..10 {
        let pushed = store.add_deployment(&push(&model, number), None).await.unwrap();
        let (store, new) = (store.clone(), promotion(&model, PRODUCTION, Candidate::Existing(pushed.id), None));
        begins.push(async move { store.begin_promotion(&new, None).await });
    }
    let (begun, refused): (Vec<_>, Vec<_>) = join_all(begins).await.into_iter().partition(Result::is_ok);
    assert_eq!((begun.len(), refused.len()), (1, 7));
    for refused in refused {
        assert!(matches!(refused, Err(Error::InUse { kind: "environment", .. })), "{refused:?}");
    }
}

pub async fn a_candidate_is_one_once(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    store.create_environment(&environment(&model, "staging"), None).await.unwrap();
    let candidate = || Candidate::Existing(first.id.clone());
    store.begin_promotion(&promotion(&model, PRODUCTION, candidate(), None), None).await.unwrap();
    let again = store.begin_promotion(&promotion(&model, "staging", candidate(), None), None).await;
    assert!(matches!(again, Err(Error::InUse { kind: "deployment", .. })), "{again:?}");
}

pub async fn one_that_cannot_be_is_refused_and_changes_nothing(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    let other = crate::fixtures::model(7, "other");
    let strange = store.create_model(&other, &environment(&other, PRODUCTION), &push(&other, 70), None).await.unwrap();
    let begin = |environment, candidate: &DeploymentId, previous: Option<&DeploymentId>| {
        let new = promotion(&model, environment, Candidate::Existing(candidate.clone()), previous);
        let store = store.clone();
        async move { store.begin_promotion(&new, None).await.unwrap_err() }
    };
    assert_eq!(begin("staging", &first.id, None).await.to_string(), "there is no environment \"staging\"");
    assert!(matches!(begin(PRODUCTION, &strange.id, None).await, Error::NotFound { kind: "deployment", .. }));
    let moved = begin(PRODUCTION, &first.id, Some(&first.id)).await;
    assert!(matches!(moved, Error::Conflict { kind: "environment", .. }), "{moved:?}");
    assert_eq!(store.promotion_history(&model.id, PRODUCTION, 9).await.unwrap(), []);
}

fn copy(source: &DeploymentId, name: &str) -> Candidate {
    Candidate::Copy(Box::new(CopyOf {
        source: source.clone(),
        policies_of: Some(source.clone()),
        id: DeploymentId::from_entropy(50),
        name: name.into(),
        created_at: LATER,
        instance_type: "2x8".into(),
        first_log_line: "copied".into(),
    }))
}

pub async fn a_copy_shares_the_build_and_starts_anew(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    let first = activate(&store, &first.id, 1).await;
    let taken = promotion(&model, PRODUCTION, copy(&first.id, &first.name), None);
    let taken = store.begin_promotion(&taken, None).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");

    let new = promotion(&model, PRODUCTION, copy(&first.id, "deployment-1.1700000001"), None);
    let begun = store.begin_promotion(&new, None).await.unwrap();
    let made = store.deployment(&begun.candidate).await.unwrap();
    let expected = Deployment {
        id: DeploymentId::from_entropy(50),
        name: "deployment-1.1700000001".into(),
        created_at: LATER,
        instance_type: "2x8".into(),
        lifecycle: Lifecycle { run: Run::Idle, first_ready: None, ..first.lifecycle.clone() },
        target_replicas: 0,
        generation: 1,
        ..first
    };
    assert_eq!(made, expected);
    assert!(matches!(made.lifecycle.build, Build::Succeeded { .. }));
    assert_eq!(messages(&store, &made.id).await[0], "copied");
}

pub async fn a_copy_of_what_is_being_built_is_built_and_published(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut development = push(&model, 2);
    development.kind = DeploymentKind::Development;
    let source = store.add_deployment(&development, None).await.unwrap();
    let new = promotion(&model, PRODUCTION, copy(&source.id, "copy"), None);
    let begun = store.begin_promotion(&new, None).await.unwrap();
    let made = store.deployment(&begun.candidate).await.unwrap();
    assert_eq!((made.kind, made.lifecycle.pending_build()), (DeploymentKind::Published, Some(LATER)));
    assert_eq!(store.deployment(&source.id).await.unwrap(), source);
}

pub async fn a_copy_has_the_policies_of_whom_it_is_told(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    let first = activate(&store, &first.id, 1).await;
    let second = store.add_deployment(&push(&model, 2), None).await.unwrap();
    let entry = written::Entry { kind: Some("country".into()), name: "fr".into() };
    for (name, of) in [("ours", &first.id), ("theirs", &second.id)] {
        let locations = vec![entry.clone()];
        let written = written::Policy { name: name.into(), kind: "location".into(), locations, ..Default::default() };
        store.add_policy(&written.try_into().unwrap(), NOW, None).await.unwrap();
        store.attach_policies(PoliciesOf::Deployment(of), &[name.into()], None).await.unwrap();
    }
    let mut number = 50;
    for (policies_of, expected) in [(Some(&first.id), vec!["ours"]), (Some(&second.id), vec!["theirs"]), (None, vec![])]
    {
        number += 1;
        let environment = environment(&model, &format!("e{number}"));
        store.create_environment(&environment, None).await.unwrap();
        let Candidate::Copy(mut made) = copy(&first.id, &format!("copy-{number}")) else { unreachable!("it is one") };
        made.id = DeploymentId::from_entropy(number);
        made.policies_of = policies_of.cloned();
        let new = promotion(&model, &environment.name, Candidate::Copy(made), None);
        let begun = store.begin_promotion(&new, None).await.unwrap();
        assert_eq!(store.policies_of(PoliciesOf::Deployment(&begun.candidate)).await.unwrap(), expected);
    }
}

pub async fn what_it_changes_is_kept_with_it_until_its_model_goes(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    let change = Change {
        part: Part::Config,
        field: "resources.cpu".into(),
        kind: ChangeKind::Changed,
        old: Some("1".into()),
        new: Some("2".into()),
    };
    let difference = Difference { source: first.id.clone(), compared_with: None, changes: vec![change], left_out: 3 };
    let told = promotion(&model, PRODUCTION, Candidate::Existing(first.id.clone()), None);
    let told = NewPromotion { difference: Some(difference.clone()), ..told };
    let told = store.begin_promotion(&told, None).await.unwrap();
    finish(&store, &told, canceled()).await;
    let untold = promotion(&model, PRODUCTION, Candidate::Existing(first.id), None);
    store.begin_promotion(&untold, None).await.unwrap();
    let kept = store.promotion_differences(&model.id, PRODUCTION, 9).await.unwrap();
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [(told.id, difference)]);
    assert!(store.promotion_differences(&model.id, PRODUCTION, 1).await.unwrap().is_empty(), "the newest has none");
    store.delete_model(&model.id, None).await.unwrap();
    assert!(store.promotion_differences(&model.id, PRODUCTION, 9).await.unwrap().is_empty());
}

pub async fn a_push_that_begins_makes_earlier_ones_give_way(database: Database) {
    let store = database.open().await;
    let (model, _) = with_model(&store).await;
    let mut pushed = Vec::new();
    for number in 2..5 {
        let mut push = push(&model, number);
        push.target_environment = Some(PRODUCTION.into());
        pushed.push(store.add_deployment(&push, None).await.unwrap().id);
    }
    let targets = async || {
        let mut targets = Vec::new();
        for id in &pushed {
            targets.push(store.deployment(id).await.unwrap().target_environment.is_some());
        }
        targets
    };
    let person = promotion(&model, PRODUCTION, Candidate::Existing(pushed[0].clone()), None);
    let begun = store.begin_promotion(&person, None).await.unwrap();
    assert_eq!(targets().await, [false, true, true], "they wait");
    finish(&store, &begun, canceled()).await;
    let mut push = promotion(&model, PRODUCTION, Candidate::Existing(pushed[1].clone()), None);
    push.origin = Origin::Push;
    store.begin_promotion(&push, None).await.unwrap();
    assert_eq!(targets().await, [false, false, true], "a later one still waits");
}

pub async fn a_save_consumes_the_command_and_an_older_one_is_refused(database: Database) {
    let store = database.open().await;
    let (_, _, _, mut one) = under_way(&store, Cleanup::ScaleToZero).await;
    let mut late = one.clone();
    store.command_promotion(one.id, Command::Pause, None).await.unwrap();
    let missed = store.save_promotion(&mut one).await;
    assert!(matches!(missed, Err(Error::Conflict { .. })), "nobody overlooks a command: {missed:?}");

    let mut one = store.promotion(one.id).await.unwrap();
    assert_eq!(one.command, Some(Command::Pause));
    one.command = None;
    one.targets.candidate_percent = 40;
    one.why = "paused".into();
    store.save_promotion(&mut one).await.unwrap();
    assert_eq!(store.promotion(one.id).await.unwrap(), one);
    let refused = store.save_promotion(&mut late).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let refused = store.finish_promotion(&mut late, LATER, None).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
}

pub async fn a_command_that_ends_is_not_taken_back_by_one_that_does_not(database: Database) {
    let store = database.open().await;
    let (model, _, _, begun) = under_way(&store, Cleanup::ScaleToZero).await;
    let command = async |command| store.command_promotion(begun.id, command, None).await;
    let pending = async || store.promotion(begun.id).await.unwrap().command;
    command(Command::Pause).await.unwrap();
    command(Command::Cancel).await.unwrap();
    assert!(matches!(command(Command::Resume).await, Err(Error::Conflict { .. })));
    assert_eq!(pending().await, Some(Command::Cancel));
    command(Command::ForceRollForward).await.unwrap();
    assert_eq!(pending().await, Some(Command::ForceRollForward));

    let current = store.promotion(begun.id).await.unwrap();
    let ended = finish(&store, &current, canceled()).await;
    assert_eq!(ended.command, None);
    assert!(matches!(command(Command::Cancel).await, Err(Error::Conflict { .. })));
    let unknown = store.command_promotion(begun.id + 1, Command::Cancel, None).await;
    assert!(matches!(unknown, Err(Error::NotFound { kind: "promotion", .. })), "{unknown:?}");
    assert_eq!(store.promotion_history(&model.id, PRODUCTION, 9).await.unwrap(), [ended]);
}

pub async fn success_moves_the_pointer_and_hands_the_settings_over(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::ScaleToZero).await;
    let mut production = store.environment(&model.id, PRODUCTION).await.unwrap();
    production.autoscaling.max_replica = 7;
    store.save_environment(&mut production, None).await.unwrap();
    finish(&store, &begun, Ending::Succeeded).await;

    assert_eq!(current(&store, &model).await, Some(second.id.clone()));
    assert_eq!(store.deployment(&second.id).await.unwrap().autoscaling, production.autoscaling);
    assert!(!is_stopping(&store, &second.id).await);
    let previous = store.deployment(&first.id).await.unwrap();
    assert_eq!((previous.target_replicas, previous.autoscaling.min_replica), (0, 0));
    assert_eq!(previous.autoscaling.max_replica, 7, "it keeps its own copy");
    assert_eq!(previous.lifecycle.run, Run::AtZero { since: LATER }, "it is not broken while its replicas leave");
    assert!(is_stopping(&store, &first.id).await);
    store.delete_deployment(&first.id, None).await.unwrap();
}

pub async fn what_becomes_of_the_previous_deployment_is_the_settings_choice(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::Keep).await;
    let before = store.deployment(&first.id).await.unwrap();
    finish(&store, &begun, Ending::Succeeded).await;
    assert_eq!(store.deployment(&first.id).await.unwrap(), before);
    assert!(!is_stopping(&store, &first.id).await);

    let mut back = promotion(&model, PRODUCTION, Candidate::Existing(first.id), Some(&second.id));
    back.settings.cleanup = Cleanup::Deactivate;
    let back = store.begin_promotion(&back, None).await.unwrap();
    finish(&store, &back, Ending::Succeeded).await;
    assert_eq!(store.deployment(&second.id).await.unwrap().lifecycle.wanted, Wanted::Inactive);
}

pub async fn what_there_is_no_room_for_is_not_kept(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::Keep).await;
    finish(&store, &begun, canceled()).await;
    let mut new = promotion(&model, PRODUCTION, Candidate::Existing(second.id), Some(&first.id));
    (new.settings.cleanup, new.settings.room) = (Cleanup::Keep, Room::InPlace);
    let begun = store.begin_promotion(&new, None).await.unwrap();
    finish(&store, &begun, Ending::Succeeded).await;
    let previous = store.deployment(&first.id).await.unwrap();
    assert_eq!((previous.target_replicas, previous.autoscaling.min_replica), (0, 0));
    assert!(is_stopping(&store, &first.id).await);
}

/// Ends and changes that are begun at one moment, often enough that they meet.
pub async fn changes_at_the_end_of_a_promotion_are_refused_or_kept(database: Database) {
    let store = database.open().await;
    let (model, first, second, mut begun) = under_way(&store, Cleanup::ScaleToZero).await;
    for round in 2..40 {
        let mut production = store.environment(&model.id, PRODUCTION).await.unwrap();
        production.autoscaling.max_replica = round;
        let settle = |deployment: &mut Deployment| {
            deployment.autoscaling.scale_down_delay_s = round;
            Ok::<(), Error>(())
        };
        let (saved, changed, _) = tokio::join!(
            store.save_environment(&mut production, None),
            store.change_deployment(&second.id, None, settle),
            finish(&store, &begun, canceled()),
        );
        changed.unwrap();
        let delay_s = store.deployment(&second.id).await.unwrap().autoscaling.scale_down_delay_s;
        assert_eq!(delay_s, round, "what was changed side by side is lost");
        saved.unwrap();
        let new = promotion(&model, PRODUCTION, Candidate::Existing(second.id.clone()), Some(&first.id));
        begun = store.begin_promotion(&new, None).await.unwrap();
        // A run that ends in retirement each time.
        let wake = |deployment: &mut Deployment| {
            deployment.lifecycle.run = Run::Serving { since: NOW };
            Ok::<(), Error>(())
        };
        store.change_deployment(&second.id, None, wake).await.unwrap();
    }
}

pub async fn cleaning_up_spares_what_others_count_on(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::ScaleToZero).await;
    store.create_environment(&environment(&model, "staging"), None).await.unwrap();
    serve(&store, &model, "staging", &first.id).await;
    let before = store.deployment(&first.id).await.unwrap();
    finish(&store, &begun, Ending::Succeeded).await;
    assert_eq!(store.deployment(&first.id).await.unwrap(), before, "staging serves it");

    let third = active(&store, &model, 3).await;
    let new = promotion(&model, "staging", Candidate::Existing(third.id.clone()), Some(&first.id));
    let begun = store.begin_promotion(&new, None).await.unwrap();
    serve(&store, &model, PRODUCTION, &third.id).await;
    finish(&store, &begun, failed()).await;
    assert!(!is_stopping(&store, &third.id).await, "production serves it");
    assert!(!is_stopping(&store, &second.id).await, "it has nothing to do with it");
}

pub async fn an_environment_points_only_at_what_has_been_active(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    let new = promotion(&model, PRODUCTION, Candidate::Existing(first.id), None);
    let begun = store.begin_promotion(&new, None).await.unwrap();
    let mut ended = begun.clone();
    ended.state.phase = Phase::Ended { at: LATER, ending: Ending::Succeeded };
    let refused = store.finish_promotion(&mut ended, LATER, None).await;
    assert!(matches!(refused, Err(Error::NeverActive { .. })), "{refused:?}");
    assert_eq!(current(&store, &model).await, None);
    assert_eq!(store.promotion(begun.id).await.unwrap(), begun);
}

pub async fn one_that_is_given_up_leaves_the_environment_as_it_was(database: Database) {
    let store = database.open().await;
    let (model, first, second, mut begun) = under_way(&store, Cleanup::ScaleToZero).await;
    let production = store.environment(&model.id, PRODUCTION).await.unwrap();
    for ending in [failed(), canceled()] {
        finish(&store, &begun, ending).await;
        assert_eq!(store.environment(&model.id, PRODUCTION).await.unwrap(), production);
        assert!(!is_stopping(&store, &first.id).await);
        let candidate = store.deployment(&second.id).await.unwrap();
        assert_eq!((candidate.target_replicas, candidate.autoscaling.min_replica), (0, 0));
        assert!(is_stopping(&store, &second.id).await);
        let new = promotion(&model, PRODUCTION, Candidate::Existing(second.id.clone()), Some(&first.id));
        begun = store.begin_promotion(&new, None).await.unwrap();
    }
}

pub async fn a_candidate_that_has_never_been_active_rests_and_says_why(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::ScaleToZero).await;
    finish(&store, &begun, canceled()).await;
    let third = store.add_deployment(&push(&model, 3), None).await.unwrap();
    store.add_replica(&replica(3, &third)).await.unwrap();
    for (candidate, wanted) in [(&second, Wanted::Running), (&third, Wanted::Inactive)] {
        let new = promotion(&model, PRODUCTION, Candidate::Existing(candidate.id.clone()), Some(&first.id));
        let begun = store.begin_promotion(&new, None).await.unwrap();
        finish(&store, &begun, canceled()).await;
        assert_eq!(store.deployment(&candidate.id).await.unwrap().lifecycle.wanted, wanted);
        assert!(is_stopping(&store, &candidate.id).await);
    }
    let reason = store.deployment(&third.id).await.unwrap().lifecycle.rests_because.unwrap();
    assert!(reason.starts_with("its promotion to environment production was canceled: "), "{reason}");
    let told = messages(&store, &third.id).await;
    assert_eq!(told.last(), Some(&format!("deactivated: {reason}")), "{told:?}");
    assert!(!messages(&store, &second.id).await.iter().any(|message| message.starts_with("deactivated")));
}

pub async fn what_rests_is_activated_with_the_beginning_or_not_at_all(database: Database) {
    let store = database.open().await;
    let (model, first, second, begun) = under_way(&store, Cleanup::Deactivate).await;
    finish(&store, &begun, Ending::Succeeded).await;
    let resting = store.deployment(&first.id).await.unwrap();
    let reason = resting.lifecycle.rests_because.as_deref().unwrap();
    assert_eq!(reason, format!("environment production is served by deployment {} since then", second.id));

    let mut new = promotion(&model, PRODUCTION, Candidate::Resting(first.id.clone()), None);
    let refused = store.begin_promotion(&new, None).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(store.deployment(&first.id).await.unwrap(), resting);
    new.previous = Some(second.id);
    store.begin_promotion(&new, &[event("ONE"), event("OTHER")]).await.unwrap();
    let activated = store.deployment(&first.id).await.unwrap().lifecycle;
    assert_eq!((activated.wanted, activated.rests_because), (Wanted::Running, None));
    let audit = store.audit_log(&AuditQuery { limit: 2, ..AuditQuery::default() }).await.unwrap();
    let types: Vec<_> = audit.iter().map(|entry| entry.event.event_type.as_str()).collect();
    assert_eq!(types, ["OTHER", "ONE"]);
}

pub async fn a_deleted_environment_takes_its_promotion_along(database: Database) {
    let store = database.open().await;
    let (model, first) = with_model(&store).await;
    store.create_environment(&environment(&model, "staging"), None).await.unwrap();
    let first = activate(&store, &first.id, 1).await;
    let new = promotion(&model, "staging", Candidate::Existing(first.id.clone()), None);
    let begun = store.begin_promotion(&new, None).await.unwrap();
    store.delete_environment(&model.id, "staging", LATER, None).await.unwrap();
    let ended = store.promotion(begun.id).await.unwrap();
    let reason = "environment staging was deleted".to_owned();
    assert_eq!(ended.state.ending(), Some(&Ending::Canceled { reason }));
    assert_eq!(ended.ended_at, Some(LATER));
    assert!(is_stopping(&store, &first.id).await);
    assert_eq!(store.promotion_history(&model.id, "staging", 9).await.unwrap(), [ended]);
    store.delete_model(&model.id, None).await.unwrap();
    assert_eq!(store.promotion_history(&model.id, "staging", 9).await.unwrap(), []);
}

pub async fn a_deployment_that_a_promotion_uses_is_not_deleted(database: Database) {
    let store = database.open().await;
    let (model, _, second, begun) = under_way(&store, Cleanup::ScaleToZero).await;
    let refused = store.delete_deployment(&second.id, None).await;
    assert!(matches!(refused, Err(Error::InUse { kind: "deployment", .. })), "{refused:?}");
    finish(&store, &begun, canceled()).await;
    store.delete_deployment(&second.id, None).await.unwrap();
    assert_eq!(store.promotion_history(&model.id, PRODUCTION, 9).await.unwrap().len(), 1, "what was is remembered");
}

pub async fn a_replica_remembers_what_it_was_told(database: Database) {
    let store = database.open().await;
    let (_, first) = with_model(&store).await;
    let mut told = replica(1, &first);
    told.environment = Some("staging".into());
    store.add_replica(&told).await.unwrap();
    assert_eq!(store.replicas(None).await.unwrap(), [told.clone()]);
    for environment in [Some(PRODUCTION), None] {
        store.record_environment_told(&told.id, environment).await.unwrap();
        assert_eq!(store.replicas(None).await.unwrap()[0].environment.as_deref(), environment);
    }
    store.record_environment_told(&ReplicaId::from_entropy(9), None).await.unwrap();
}
