//! What gateways have counted within windows.

use std::num::NonZeroU32;

use api::{
    id::{DeploymentId, GatewayId, ModelId},
    internal::tokens::{Counted, Granularity, Metered, Period, Spent, Tokens},
};
use planner::Timestamp;

use crate::support::Database;

const HOUR: u64 = 3_600_000;

pub async fn what_gateways_have_counted_reads_back_until_its_window_is_over(database: Database) {
    let store = database.open().await;
    let counted = |by: u128, of: Metered, granularity: Granularity, input: u64| Counted {
        by: GatewayId::from_entropy(by),
        of,
        spent: Spent {
            period: Period { granularity, step: NonZeroU32::MIN },
            from_ms: HOUR * 48,
            tokens: Tokens { input, output: 1 },
        },
    };
    let deployment = || Metered::Deployment(DeploymentId::from_entropy(1));
    let environment = || Metered::Environment(ModelId::from_entropy(1), "a/b".into());
    let now = Timestamp(HOUR * 48 + 1);
    let hourly = counted(1, environment(), Granularity::Hour, 2);
    store.record_tokens(&[counted(1, deployment(), Granularity::Day, 1), hourly.clone()], now).await.unwrap();
    let newer = counted(1, deployment(), Granularity::Day, 5);
    let other = counted(2, deployment(), Granularity::Day, 7);
    store.record_tokens(&[newer.clone(), other.clone()], now).await.unwrap();
    let ids = |counted: Vec<Counted>| {
        let mut all: Vec<_> = counted.into_iter().map(|one| (one.of, one.by, one.spent.tokens)).collect();
        all.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        all
    };
    let everything = ids(vec![newer.clone(), other.clone(), hourly.clone()]);
    assert_eq!(ids(store.counted_tokens(now).await.unwrap()), everything);
    let later = Timestamp(HOUR * 49);
    assert_eq!(ids(store.counted_tokens(later).await.unwrap()), ids(vec![newer.clone(), other]));
    store.record_tokens(&[hourly, newer.clone()], later).await.unwrap();
    assert_eq!(store.counted_tokens(now).await.unwrap().len(), 2, "what is over is forgotten");
    assert_eq!(store.counted_tokens(Timestamp(HOUR * 72)).await.unwrap(), []);
}
