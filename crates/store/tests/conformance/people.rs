//! People, service accounts, teams, and what they hold.

use planner::Timestamp;
use store::{
    Beginning, Error, Store,
    domain::{ApiKey, ApiKeyKind, ClientCredential, KeyOwner, Role, Team, User, UserKind},
};

use crate::{fixtures::*, support::Database};

async fn installed(database: &Database) -> Store {
    let store = database.open().await;
    store.ensure_installed(&installation()).await.unwrap();
    store
}

fn other_team() -> Team {
    Team { id: api::id::TeamId::from_entropy(2), name: "search".into(), is_default: false, created_at: NOW }
}

fn token(prefix: &str, user: &User, expires_at: Timestamp) -> ApiKey {
    let owner = KeyOwner::User(user.id.clone());
    ApiKey { expires_at: Some(expires_at), ..ApiKey::new(prefix, [7; 32], ApiKeyKind::Personal, owner, NOW) }
}

fn credential(client_id: &str, user: &User) -> ClientCredential {
    ClientCredential { client_id: client_id.into(), hash: [5; 32], user_id: user.id.clone(), created_at: NOW }
}

async fn prefixes(store: &Store) -> Vec<String> {
    let mut prefixes: Vec<_> = store.keys().await.unwrap().into_iter().map(|key| key.prefix).collect();
    prefixes.sort();
    prefixes
}

pub async fn somebody_reads_back_as_they_were_written(database: Database) {
    let store = installed(&database).await;
    store.add_team(&other_team(), None).await.unwrap();
    let mut user = User {
        kind: UserKind::Service,
        name: Some("Ci".into()),
        teams: [(team(), Role::Member), (other_team().id, Role::Admin)].into(),
        subject: Some("issuer subject".into()),
        ..person(2, false)
    };
    let key = token("mine", &user, NOW.plus(5));
    let credential = credential("client", &user);
    let beginning = Beginning { key: Some(&key), credential: Some(&credential) };
    store.add_user(&user, beginning, None).await.unwrap();
    assert_eq!(store.user(&user.id).await.unwrap(), user);
    assert_eq!(store.key("mine").await.unwrap(), key);
    assert_eq!(store.client_credential("client").await.unwrap(), credential);

    let again = store.add_user(&User { id: person(3, false).id, ..user.clone() }, Beginning::default(), None).await;
    assert!(matches!(again, Err(Error::NameTaken { kind: "user", .. })), "{again:?}");
    let changed = store
        .change_user(&user.id, None, |user| {
            user.is_admin = true;
            user.teams.clear();
            Ok::<_, Error>(())
        })
        .await
        .unwrap();
    user.is_admin = true;
    user.teams.clear();
    assert_eq!((&changed, &store.user(&user.id).await.unwrap()), (&user, &user));
    assert_eq!(store.users().await.unwrap(), [person(1, true), user]);
    let nobody = store.change_user(&person(9, false).id, None, |_| Ok::<_, Error>(())).await;
    assert!(matches!(nobody, Err(Error::NotFound { kind: "user", .. })), "{nobody:?}");
}

pub async fn the_keys_of_somebody_who_is_deleted_go_with_them(database: Database) {
    let store = installed(&database).await;
    let user = person(2, false);
    let (key, credential) = (token("mine", &user, NOW.plus(5)), credential("client", &user));
    let beginning = Beginning { key: Some(&key), credential: Some(&credential) };
    store.add_user(&user, beginning, None).await.unwrap();
    store.delete_user(&user.id, None).await.unwrap();
    assert_eq!(prefixes(&store).await, ["adminkey"]);
    assert!(matches!(store.client_credential("client").await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete_user(&user.id, None).await, Err(Error::NotFound { .. })));
}

pub async fn somebody_administers_the_organization_always(database: Database) {
    let store = installed(&database).await;
    let program = User { kind: UserKind::Service, is_admin: true, ..person(2, true) };
    store.add_user(&program, Beginning::default(), None).await.unwrap();
    let demote = |user: &mut User| {
        user.is_admin = false;
        Ok::<_, Error>(())
    };
    let refused = store.change_user(&user(), None, demote).await;
    assert!(matches!(refused, Err(Error::InUse { kind: "user", .. })), "{refused:?}");
    assert!(matches!(store.delete_user(&user(), None).await, Err(Error::InUse { .. })));
    assert_eq!(
        (store.user(&user()).await.unwrap(), prefixes(&store).await),
        (person(1, true), vec!["adminkey".into()])
    );

    store.add_user(&person(3, true), Beginning::default(), None).await.unwrap();
    store.change_user(&user(), None, demote).await.unwrap();
    let last = store.delete_user(&person(3, true).id, None).await;
    assert!(matches!(last, Err(Error::InUse { .. })), "{last:?}");
}

pub async fn tokens_end_when_there_are_too_many_and_when_their_time_has_come(database: Database) {
    let store = installed(&database).await;
    let admin = person(1, true);
    store.add_user(&person(2, false), Beginning::default(), None).await.unwrap();
    store.add_token(&token("other", &person(2, false), NOW), 2, None, None).await.unwrap();
    for (prefix, after) in [("b", 20), ("a", 10), ("c", 30)] {
        store.add_token(&token(prefix, &admin, NOW.plus(after)), 2, None, None).await.unwrap();
    }
    assert_eq!(prefixes(&store).await, ["adminkey", "b", "c", "other"], "the one that ends first, and nobody else's");
    store.delete_expired_keys(NOW.plus(20)).await.unwrap();
    assert_eq!(prefixes(&store).await, ["adminkey", "c"]);
}

pub async fn a_new_credential_ends_the_old_one_and_what_was_got_by_it(database: Database) {
    let store = installed(&database).await;
    let program = User { kind: UserKind::Service, ..person(2, false) };
    let old = credential("old", &program);
    let beginning = Beginning { key: None, credential: Some(&old) };
    store.add_user(&program, beginning, None).await.unwrap();
    store.add_token(&token("token", &program, NOW.plus(9)), 9, None, None).await.unwrap();
    let key = ApiKey { expires_at: None, ..token("key", &program, NOW) };
    store.add_key(&key, None).await.unwrap();
    store.set_client_credential(&credential("new", &program), None).await.unwrap();
    assert!(matches!(store.client_credential("old").await, Err(Error::NotFound { .. })));
    assert_eq!(store.client_credentials().await.unwrap(), [credential("new", &program)]);
    assert_eq!(prefixes(&store).await, ["adminkey"]);
    let late = store.add_token(&token("late", &program, NOW.plus(9)), 9, Some("old"), None).await;
    assert!(matches!(late, Err(Error::NotFound { .. })), "{late:?}");
    store.add_token(&token("timely", &program, NOW.plus(9)), 9, Some("new"), None).await.unwrap();
}

pub async fn a_team_is_deleted_once_nothing_and_nobody_belongs_to_it(database: Database) {
    let store = installed(&database).await;
    let team = other_team();
    store.add_team(&team, None).await.unwrap();
    let again = store.add_team(&Team { id: api::id::TeamId::from_entropy(3), ..team.clone() }, None).await;
    assert!(matches!(again, Err(Error::NameTaken { kind: "team", .. })), "{again:?}");
    store.rename_team(&team.id, "ranking", None).await.unwrap();
    assert_eq!(store.team(&team.id).await.unwrap().name, "ranking");
    let taken = store.rename_team(&team.id, "default", None).await;
    assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");

    let member = User { teams: [(team.id.clone(), Role::Member)].into(), ..person(2, false) };
    store.add_user(&member, Beginning::default(), None).await.unwrap();
    assert!(matches!(store.delete_team(&team.id, None).await, Err(Error::InUse { kind: "team", .. })));
    store.delete_user(&member.id, None).await.unwrap();
    store.add_key(&key("teams", None, KeyOwner::Team(team.id.clone())), None).await.unwrap();
    assert!(matches!(store.delete_team(&team.id, None).await, Err(Error::InUse { kind: "team", .. })));
    store.revoke_key("teams", None).await.unwrap();
    store.delete_team(&team.id, None).await.unwrap();
    assert!(matches!(store.delete_team(&team.id, None).await, Err(Error::NotFound { .. })));
}

pub async fn who_somebody_is_is_news_for_those_who_follow(database: Database) {
    let store = installed(&database).await;
    let before = store.everything().await.unwrap();
    assert_eq!(before.users[&user()], Some(person(1, true)));
    store.add_user(&person(2, false), Beginning::default(), None).await.unwrap();
    let delta = store.changed_since(before.moment).await.unwrap();
    assert_eq!(delta.users, [(person(2, false).id, Some(person(2, false)))].into());
    store.delete_user(&person(2, false).id, None).await.unwrap();
    assert_eq!(store.changed_since(delta.moment).await.unwrap().users[&person(2, false).id], None);
}
