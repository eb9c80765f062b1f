//! Tokens of answers: counted as they pass, and refused where policies leave none.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::atomic::Ordering,
};

use api::{
    id::GatewayId,
    internal::tokens::{
        Allowance, Counted, Granularity, Measure, Metered, MostTokens, Period, Spent, TokenLimit, Tokens,
    },
};
use gateway::Settings;
use http::Response;

use crate::support::*;

const HOUR_MS: u64 = 3_600_000;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":5,"total_tokens":11}}"#;

fn hour() -> Period {
    Period { granularity: Granularity::Hour, step: NonZeroU32::MIN }
}

fn production() -> Metered {
    Metered::Environment(model(), "production".into())
}

fn at_most(policy: &str, measure: Measure, most: u64) -> Allowance {
    let bounds = [(measure, NonZeroU64::new(most).unwrap())].into();
    let limit = TokenLimit { policy: policy.into(), most: MostTokens { period: hour(), bounds } };
    Allowance { limits: vec![limit], counted: vec![] }
}

/// A replica that answers each request so.
fn answers(mime: &'static str, body: &'static str) -> Replica {
    Replica::start(
        1,
        move |_| async move { Response::builder().header("content-type", mime).body(full(body)).unwrap() },
    )
}

impl Stage {
    async fn limited(replica: &Replica, allowances: impl IntoIterator<Item = (Metered, Allowance)>) -> Self {
        let stage = Self::with(Settings::default()).await;
        stage.clock.store(HOUR_MS * 1_000 + 1_500, Ordering::SeqCst);
        stage.limit(replica, allowances);
        stage
    }

    fn limit(&self, replica: &Replica, allowances: impl IntoIterator<Item = (Metered, Allowance)>) {
        let mut table = table(self.gateway.version().unwrap_or(0) + 1, route(&[replica]));
        table.allowances = allowances.into_iter().collect();
        self.gateway.publish(table);
    }

    /// The status of the answer to one more request.
    async fn status(&self, path: &str) -> u16 {
        self.call(request("POST", path, full("{}"))).await.status.as_u16()
    }
}

fn own_endpoint() -> String {
    format!("/deployment/{}/predict", deployment())
}

#[tokio::test]
async fn the_request_that_crosses_a_limit_is_served_and_later_ones_hear_when_to_come_back() {
    let replica = answers("application/json", USAGE);
    let stage = Stage::limited(&replica, [(production(), at_most("free", Measure::Total, 20))]).await;
    assert_eq!(stage.status("/production/predict").await, 200);
    assert_eq!(stage.status("/production/predict").await, 200, "it crosses the limit");
    let refused = stage.call(predict(full("{}"))).await;
    assert_eq!((refused.status.as_u16(), &refused.headers["retry-after"]), (429, &"3599".parse().unwrap()));
    assert_eq!(refused.headers["x-greenroom-error-source"], "gateway");
    let body = refused.json();
    let said = "environment production: policy free allows 20 tokens each hour, and 22 are used: try again in 3599 s";
    assert_eq!(body["error"], said);
    let remedy = "requests are served again from 1970-02-11T17:00:00.000Z on; an administrator can change the policy: \
                  greenroom policies set free";
    assert_eq!(body["detail"], remedy);
    assert_eq!(
        stage.status(&own_endpoint()).await,
        429,
        "what it serves there counts together, by whatever way it is asked"
    );
    stage.clock.store(HOUR_MS * 1_001, Ordering::SeqCst);
    assert_eq!(stage.status("/production/predict").await, 200);
    assert_eq!(stage.gateway.measures()[&deployment()].answered[&429].response_time.count(), 2);
}

#[tokio::test]
async fn a_deployments_own_limit_holds_beside_that_of_its_environment() {
    let replica = answers("application/json", USAGE);
    let limits = [
        (production(), at_most("wide", Measure::Input, 1_000)),
        (Metered::Deployment(deployment()), at_most("narrow", Measure::Output, 5)),
    ];
    let stage = Stage::limited(&replica, limits).await;
    assert_eq!(stage.status("/production/predict").await, 200);
    let refused = stage.call(predict(full("{}"))).await.json();
    assert!(refused["error"].as_str().unwrap().contains("policy narrow allows 5 tokens of output"), "{refused}");
}

#[tokio::test]
async fn streams_are_counted_by_their_last_usage_and_pass_unchanged() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let replica = answers("text/event-stream", stream);
    let stage = Stage::limited(&replica, []).await;
    assert_eq!(stage.call(predict(full("{}"))).await.text(), stream);
    eventually("it is counted", || {
        stage.gateway.measures().get(&deployment()).is_some_and(|all| all.tokens == Tokens { input: 7, output: 2 })
    })
    .await;
    assert_eq!(stage.status("/production/predict").await, 200, "nothing is limited");
    assert_eq!(stage.gateway.counted(), []);
}

#[tokio::test]
async fn what_was_counted_is_told_and_what_others_have_counted_counts() {
    let replica = answers("application/json", USAGE);
    let limit = at_most("free", Measure::Total, 20);
    let stage = Stage::limited(&replica, [(production(), limit.clone())]).await;
    assert_eq!(stage.status("/production/predict").await, 200);
    let counted = stage.gateway.counted();
    let tokens = Tokens { input: 6, output: 5 };
    let spent = Spent { period: hour(), from_ms: HOUR_MS * 1_000, tokens };
    let own = counted[0].by.clone();
    assert_eq!(counted, [Counted { by: own.clone(), of: production(), spent }]);

    let recorded =
        |by: GatewayId, tokens| Allowance { counted: vec![(by, Spent { tokens, ..spent })], ..limit.clone() };
    stage.limit(&replica, [(production(), recorded(own.clone(), tokens))]);
    assert_eq!(stage.status("/production/predict").await, 200, "its own record is no second use");
    let elsewhere = GatewayId::from_entropy(7);
    let begun_anew =
        Stage::limited(&replica, [(production(), recorded(elsewhere, Tokens { input: 20, output: 0 }))]).await;
    assert_eq!(begun_anew.status("/production/predict").await, 429);
}

#[tokio::test]
async fn a_limit_that_is_lifted_and_set_again_goes_on_from_the_record() {
    let replica = answers("application/json", USAGE);
    let limit = at_most("free", Measure::Total, 11);
    let stage = Stage::limited(&replica, [(production(), limit.clone())]).await;
    assert_eq!(stage.status("/production/predict").await, 200);
    let record = stage.gateway.counted().remove(0);
    stage.limit(&replica, []);
    assert_eq!(stage.status("/production/predict").await, 200);
    stage.limit(&replica, [(production(), Allowance { counted: vec![(record.by, record.spent)], ..limit })]);
    assert_eq!(stage.status("/production/predict").await, 429);
}

#[tokio::test]
async fn a_model_under_a_limit_is_not_asked_to_compress_and_a_key_of_ours_leaves_its_own_to_it() {
    let replica = Replica::start(1, move |request: http::Request<_>| async move {
        let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let told = format!("{:?} {:?}", text("accept-encoding"), text("authorization"));
        Response::builder().header("content-type", "text/plain").body(full(told)).unwrap()
    });
    let stage = Stage::limited(&replica, []).await;
    let ask = async || {
        let mut call = request("POST", "/production/predict", full("{}"));
        call.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        let key = call.headers_mut().insert("authorization", "Bearer the model's".parse().unwrap()).unwrap();
        call.headers_mut().insert("x-greenroom-authorization", key);
        stage.call(call).await.text().to_owned()
    };
    assert_eq!(ask().await, "Some(\"gzip\") Some(\"Bearer the model's\")");
    stage.limit(&replica, [(production(), at_most("p", Measure::Total, 100))]);
    assert_eq!(ask().await, "None Some(\"Bearer the model's\")");
}
