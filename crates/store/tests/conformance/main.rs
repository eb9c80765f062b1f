//! What every store does: each case runs on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod delta;
mod deployments;
mod environment_groups;
mod environments;
mod keys;
mod locations;
mod logs;
mod measures;
mod models;
mod opening;
mod organization;
mod patches;
mod people;
mod policies;
mod promotions;
mod replicas;
mod scaling;
mod secrets;
mod sign_ins;
mod startups;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod workspace_settings;

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
    delta:
        a_copy_that_follows_has_everything_there_is,
        policies_and_what_they_are_attached_to_are_followed,
        nothing_is_missed_while_many_write,
        how_far_a_log_is_read_is_no_change;
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
    environment_groups: the_last_word_on_a_group_counts;
    environments:
        a_deleted_environment_is_nobodys_target,
        a_deleted_environment_retires_what_no_other_serves,
        saved_settings_reach_what_is_served,
        names_are_unique_within_a_model,
        a_save_of_an_older_generation_is_refused;
    keys: a_key_reads_back_until_it_is_revoked, names_are_unique_within_their_owner;
    locations: a_location_that_does_not_answer_is_known_until_it_does;
    logs:
        a_log_is_followed_line_by_line_from_any_moment,
        lines_come_in_order_within_their_window,
        lines_are_picked_by_their_fields,
        lines_are_picked_by_their_message_across_pages,
        a_part_of_a_replicas_log_is_stored_once,
        pruning_takes_the_oldest_and_the_orphaned;
    measures:
        samples_add_up_and_read_back_by_deployment_and_environment,
        restarts_are_counted_once_and_told_with_the_next_sample,
        builds_are_counted_by_how_they_ended,
        what_there_is_to_pay_outlives_the_deployment;
    models:
        a_model_comes_with_environment_deployment_log_line_and_audit_entry,
        names_are_unique_within_a_team,
        a_renamed_model_is_found_by_its_new_name_only,
        a_deleted_model_leaves_only_replicas_to_stop;
    opening:
        a_newer_database_is_refused,
        an_older_database_is_brought_up_to_date,
        what_was_written_is_there_after_opening_again,
        writers_wake_those_who_wait;
    organization: the_first_start_makes_it_and_later_ones_do_not;
    patches:
        what_takes_over_runs_and_everything_else_stops,
        what_has_changed_meanwhile_is_not_taken_over,
        a_push_forgets_what_was_staged;
    people:
        somebody_reads_back_as_they_were_written,
        the_keys_of_somebody_who_is_deleted_go_with_them,
        somebody_administers_the_organization_always,
        tokens_end_when_there_are_too_many_and_when_their_time_has_come,
        a_new_credential_ends_the_old_one_and_what_was_got_by_it,
        a_team_is_deleted_once_nothing_and_nobody_belongs_to_it,
        who_somebody_is_is_news_for_those_who_follow;
    policies: what_is_attached_reads_back_in_order_and_goes_with_what_it_is_attached_to;
    promotions:
        one_that_is_begun_reads_back_until_it_ends,
        of_several_that_begin_at_once_one_does,
        a_candidate_is_one_once,
        one_that_cannot_be_is_refused_and_changes_nothing,
        a_copy_shares_the_build_and_starts_anew,
        a_copy_of_what_is_being_built_is_built_and_published,
        a_copy_has_the_policies_of_whom_it_is_told,
        what_it_changes_is_kept_with_it_until_its_model_goes,
        a_push_that_begins_makes_earlier_ones_give_way,
        a_save_consumes_the_command_and_an_older_one_is_refused,
        a_command_that_ends_is_not_taken_back_by_one_that_does_not,
        success_moves_the_pointer_and_hands_the_settings_over,
        what_becomes_of_the_previous_deployment_is_the_settings_choice,
        what_there_is_no_room_for_is_not_kept,
        changes_at_the_end_of_a_promotion_are_refused_or_kept,
        cleaning_up_spares_what_others_count_on,
        an_environment_points_only_at_what_has_been_active,
        one_that_is_given_up_leaves_the_environment_as_it_was,
        a_candidate_that_has_never_been_active_rests_and_says_why,
        what_rests_is_activated_with_the_beginning_or_not_at_all,
        a_deleted_environment_takes_its_promotion_along,
        a_deployment_that_a_promotion_uses_is_not_deleted,
        a_replica_remembers_what_it_was_told;
    replicas:
        an_id_is_used_once,
        news_of_a_replica_never_goes_back,
        the_first_stop_counts,
        what_an_order_waits_for_is_known_until_it_waits_no_more;
    scaling: the_newest_decisions_are_kept_until_their_deployment_goes;
    secrets:
        values_open_again_by_folded_name,
        a_new_value_keeps_the_id,
        values_do_not_open_under_another_server_secret,
        values_are_sealed_anew_when_the_server_has_another_secret,
        what_was_sealed_anew_in_part_is_gone_on_with,
        what_no_secret_opens_stays_as_it_is;
    sign_ins: one_is_used_up_once_and_in_its_time, a_device_is_found_by_what_a_person_types, those_whose_time_is_over_make_room_and_no_others;
    startups: a_start_is_written_down_once_when_it_is_over;
    tokens: what_gateways_have_counted_reads_back_until_its_window_is_over;
    workspace_settings: they_are_there_from_the_start_and_the_first_of_two_changes_counts;
}
