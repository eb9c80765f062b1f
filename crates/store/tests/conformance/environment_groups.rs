//! Who may change the environments of a name.

use store::domain::EnvironmentGroup;

use crate::{fixtures::*, support::Database};

pub async fn the_last_word_on_a_group_counts(database: Database) {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    assert_eq!(store.environment_groups(&team()).await.unwrap(), []);
    let open = EnvironmentGroup { team_id: team(), name: "staging".into(), is_restricted: false, user_ids: Vec::new() };
    let shut = EnvironmentGroup { is_restricted: true, user_ids: vec![user()], ..open.clone() };
    let production = EnvironmentGroup { name: "production".into(), ..shut.clone() };
    for group in [&open, &shut, &production] {
        store.set_environment_group(group, false, None).await.unwrap();
    }
    let stays = EnvironmentGroup { is_restricted: false, user_ids: Vec::new(), ..production.clone() };
    store.set_environment_group(&stays, true, None).await.unwrap();
    let production = EnvironmentGroup { is_restricted: false, ..production };
    assert_eq!(store.environment_groups(&team()).await.unwrap(), [production, shut]);
    assert_eq!(store.environment_groups(&api::id::TeamId::from_entropy(99)).await.unwrap(), []);
}
