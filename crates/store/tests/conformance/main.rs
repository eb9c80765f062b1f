//! What every store does: each case runs on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod deployments;
mod environments;
mod keys;
mod logs;
mod models;
mod opening;
mod organization;
mod replicas;
mod secrets;
#[path = "../support/mod.rs"]
mod support;

use support::fixtures;

macro_rules! on_every_store {
    ($($room:ident: $($case:ident),+ $(,)?;)+) => {
        mod sqlite {
            $(mod $room {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    crate::$room::$case(crate::support::Database::sqlite()).await;
                })+
            })+
        }
        mod postgres {
            $(mod $room {
                $(#[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    crate::$room::$case(crate::support::Database::postgres().await).await;
                })+
            })+
        }
    };
}

on_every_store! {
    audit: entries_come_in_pages, an_entry_is_written_with_the_change_or_not_at_all;
    deployments:
        names_count_up_and_are_never_reused,
        side_by_side_pushes_get_names_of_their_own,
        a_taken_name_is_refused_and_changes_nothing,
        a_push_for_an_unknown_environment_is_refused,
        a_development_push_overwrites_in_place,
        a_development_push_stops_the_replicas_of_the_one_before,
        a_push_makes_the_environment_that_is_missing_and_no_other,
        a_save_of_an_older_generation_is_refused,
        changes_side_by_side_all_count,
        a_change_that_fails_saves_nothing,
        a_deployment_that_an_environment_serves_is_not_deleted,
        everything_reads_back_as_written;
    environments:
        putting_a_deployment_on_stage_clears_its_target,
        who_leaves_the_stage_goes_to_zero_and_who_enters_takes_its_settings,
        a_deleted_environment_is_nobodys_target,
        a_deleted_environment_retires_what_no_other_serves,
        saved_settings_reach_what_is_served,
        names_are_unique_within_a_model,
        a_save_of_an_older_generation_is_refused;
    keys: a_key_reads_back_until_it_is_revoked, names_are_unique_within_their_owner;
    logs:
        lines_come_in_order_within_their_window,
        lines_are_picked_by_their_fields,
        lines_are_picked_by_their_message_across_pages,
        a_part_of_a_replicas_log_is_stored_once,
        pruning_takes_the_oldest_and_the_orphaned;
    models:
        a_model_comes_with_environment_deployment_log_line_and_audit_entry,
        names_are_unique_within_a_team,
        a_deleted_model_leaves_only_replicas_to_stop;
    opening:
        a_newer_database_is_refused,
        what_was_written_is_there_after_opening_again,
        writers_wake_those_who_wait;
    organization: the_first_start_makes_it_and_later_ones_do_not;
    replicas:
        an_id_is_used_once,
        news_of_a_replica_never_goes_back,
        the_first_stop_counts;
    secrets:
        values_open_again_by_folded_name,
        a_new_value_keeps_the_id,
        values_do_not_open_under_another_server_secret;
}
