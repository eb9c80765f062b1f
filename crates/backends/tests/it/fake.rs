//! The backend in memory: what its tests can script.

use std::{sync::Arc, time::Duration};

use api::internal::replica::{ExitCause, LogLine, Phase};
use backends::{
    Backend, BuildError,
    fake::{BuildScript, Fake},
};

use crate::{
    suite::Subject,
    support::{Bench, Lines, PLAIN_SERVER, find, log_of, start_of},
};

pub fn subject() -> Subject {
    let fake = Fake::new();
    let (ready, crash) = (Arc::clone(&fake), Arc::clone(&fake));
    Subject {
        bench: Bench::new(),
        beside: fake.beside(),
        backend: fake,
        make_ready: Box::new(move |id| ready.ready(id)),
        crash: Box::new(move |id| crash.crash(id, ExitCause::Code { code: 3 })),
    }
}

fn line(message: &str) -> LogLine {
    LogLine { timestamp_ns: 1, level: None, request_id: None, message: message.into() }
}

#[tokio::test(start_paused = true)]
async fn a_build_takes_as_long_and_ends_as_scripted() {
    let (fake, bench, lines) = (Fake::new(), Bench::new(), Lines::new());
    let error = BuildError::Invalid { message: "no".into(), hint: None };
    let takes = Duration::from_secs(60);
    fake.script_build(BuildScript { takes, lines: vec![line("working")], error: Some(error) });
    let begun = tokio::time::Instant::now();
    let failed = fake.build(bench.request(PLAIN_SERVER, &[]), lines.clone()).await;
    assert_eq!(begun.elapsed(), takes);
    assert_eq!(failed.unwrap_err().to_string(), "no");
    assert_eq!(lines.messages(), ["working"]);
    assert!(fake.build(bench.request(PLAIN_SERVER, &[]), lines).await.is_ok(), "a script is for one build");
    assert_eq!(fake.calls().builds, 2);
}

#[tokio::test]
async fn each_waiting_task_hears_of_each_change() {
    let (fake, bench) = (Fake::new(), Bench::new());
    let request = bench.request(PLAIN_SERVER, &[]);
    let config = Arc::clone(&request.config);
    let artifact = fake.build(request, Lines::new()).await.unwrap();
    let start = start_of(&artifact, &config);
    let id = start.spec.replica_id.clone();
    let (first, second) = (fake.changed(0).await, fake.changed(0).await);
    fake.start(start).await.unwrap();
    fake.make_ready_at_once();
    fake.log(&id, line("hello"));
    assert!(fake.changed(first).await > first && fake.changed(second).await > second);
    assert_eq!(log_of(&*fake, &id).await, ["hello"]);
    assert_eq!(fake.live(), std::slice::from_ref(&id));
    assert_eq!(find(&*fake, &id).await.unwrap().status.phase, Phase::Starting, "only later ones are ready at once");
    fake.hold_stops();
    fake.stop(&id, 1).await;
    assert_eq!(find(&*fake, &id).await.unwrap().status.phase, Phase::Draining);
    fake.crash(&id, ExitCause::OutOfMemory);
    fake.ready(&id);
    assert_eq!(fake.live(), [], "an end is final");
}
