//! The health of locations.

use planner::heartbeat::Health;

use crate::{fixtures::*, support::Database};

pub async fn a_location_that_does_not_answer_is_known_until_it_does(database: Database) {
    let store = database.open().await;
    let unhealthy = Health::Unhealthy { since: NOW, reason: "no answer within 5 s".into() };
    store.record_location_health("paris", &unhealthy).await.unwrap();
    store.record_location_health("oslo", &unhealthy).await.unwrap();
    let of = |name: &str, health: &Health| (name.to_owned(), health.clone());
    assert_eq!(store.location_health().await.unwrap(), [of("oslo", &unhealthy), of("paris", &unhealthy)]);
    store.record_location_health("oslo", &Health::default()).await.unwrap();
    assert_eq!(store.location_health().await.unwrap(), [of("oslo", &Health::default()), of("paris", &unhealthy)]);
}
