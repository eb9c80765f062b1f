//! Reads the host and the path of a request: is it for a model, for which, and what is wanted. Text in, values out.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::errors::Refusal;

/// The first segment of the paths that a replica keeps for itself. Never reachable through `sync`.
const RESERVED: &str = "_greenroom";

/// A request for a model: whose, and what remains of the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Addressed<'a> {
    /// What stands where a model's id belongs.
    pub(crate) model: Cow<'a, str>,
    /// The path below the model, empty or beginning with a slash.
    pub(crate) rest: &'a str,
}

/// Whether a request is for a model: by its host (`model-ID.…`), else by its path (`/models/ID/…`).
pub(crate) fn addressed<'a>(host: Option<&'a str>, path: &'a str) -> Option<Addressed<'a>> {
    if let Some(model) = host.and_then(model_of_host) {
        return Some(Addressed { model, rest: path });
    }
    let (first, rest) = split(path);
    let (model, rest) = (first == "models").then(|| split(rest))?;
    (!model.is_empty()).then_some(Addressed { model: Cow::Borrowed(model), rest })
}

pub(crate) fn model_of_host(host: &str) -> Option<Cow<'_, str>> {
    let (label, _) = host.split_once('.')?;
    let prefix = label.get(..6)?;
    prefix.eq_ignore_ascii_case("model-").then(|| {
        let id = &label[6..];
        if id.bytes().any(|byte| byte.is_ascii_uppercase()) { id.to_ascii_lowercase().into() } else { id.into() }
    })
}

/// Which deployment of the model is meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Development,
    Environment(Cow<'a, str>),
    Deployment(&'a str),
}

/// What is wanted from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    Predict,
    Wake,
    Websocket,
    /// Whatever the model's server has at this path, which begins with a slash.
    Sync(&'a str),
}

/// Reads what follows the model: `/TARGET/ACTION`.
pub(crate) fn parse(rest: &str) -> Result<(Target<'_>, Action<'_>), Refusal> {
    let (first, rest) = split(rest);
    let (target, rest) = match first {
        "production" => (Target::Environment(first.into()), rest),
        "development" => (Target::Development, rest),
        "environments" => {
            let (name, rest) = split(rest);
            let name = percent_decode_str(name).decode_utf8().map_err(|_| Refusal::MalformedPath)?;
            (Target::Environment(name), rest)
        }
        "deployment" => {
            let (id, rest) = split(rest);
            (Target::Deployment(id), rest)
        }
        "async_request" => return Err(Refusal::AsyncUnavailable),
        _ => return Err(Refusal::UnknownPath),
    };
    let (action, rest) = split(rest);
    let ends = rest.bytes().all(|byte| byte == b'/');
    let action = match action {
        "predict" if ends => Action::Predict,
        "wake" if ends => Action::Wake,
        "websocket" if ends => Action::Websocket,
        "sync" => Action::Sync(passthrough(rest)?),
        "async_predict" | "async_queue_status" | "async_run_remote" if ends => return Err(Refusal::AsyncUnavailable),
        _ => return Err(Refusal::UnknownPath),
    };
    Ok((target, action))
}

/// The path for the model's server: as it was written, with one slash before it. Nothing in it may lead out of the server's own
/// paths, however it is spelt.
pub(crate) fn passthrough(rest: &str) -> Result<&str, Refusal> {
    let path = match rest.len() - rest.trim_start_matches('/').len() {
        0 => "/",
        slashes => &rest[slashes - 1..],
    };
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = decoded.split('/').filter(|segment| !segment.is_empty());
    if segments.clone().any(|segment| segment == "." || segment == "..") {
        return Err(Refusal::EscapingPath);
    }
    if segments.next() == Some(RESERVED) {
        return Err(Refusal::UnknownPath);
    }
    Ok(path)
}

/// The first segment of a path and what follows it, however many slashes stand before.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_at(path.find('/').unwrap_or(path.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(host: &str, path: &str) -> Option<(String, String)> {
        addressed(Some(host), path).map(|found| (found.model.into_owned(), found.rest.to_owned()))
    }

    fn is_for(host: &str, path: &str, model: &str, rest: &str) {
        assert_eq!(found(host, path), Some((model.into(), rest.into())), "{host} {path}");
    }

    fn reads(rest: &str, target: Target<'_>, action: Action<'_>) {
        assert_eq!(parse(rest), Ok((target, action)), "{rest}");
    }

    fn refuses(rest: &str, refusal: Refusal) {
        assert_eq!(parse(rest), Err(refusal), "{rest}");
    }

    fn production<'a>() -> Target<'a> {
        Target::Environment("production".into())
    }

    #[test]
    fn a_model_is_named_by_host_or_by_path() {
        is_for("model-abcd1234.api.example.com", "/production/predict", "abcd1234", "/production/predict");
        is_for("Model-ABCD1234.localhost:8000", "/production/predict", "abcd1234", "/production/predict");
        is_for("localhost:8000", "/models/abcd1234/production/predict", "abcd1234", "/production/predict");
        is_for("localhost", "//models//abcd1234//wake", "abcd1234", "//wake");
        is_for("localhost", "/models/abcd1234", "abcd1234", "");
    }

    #[test]
    fn other_requests_are_left_to_others() {
        for (host, path) in [
            ("localhost", "/v1/models/abcd1234"),
            ("localhost", "/models"),
            ("localhost", "/models/"),
            ("localhost", "/"),
            ("model-abcd1234", "/production/predict"),
            ("mødel-x.y", "/"),
            ("models.example.com", "/v1/models"),
        ] {
            assert_eq!(found(host, path), None, "{host} {path}");
        }
    }

    #[test]
    fn every_target_and_action_of_the_contract_is_read() {
        reads("/production/predict", production(), Action::Predict);
        reads("/development/predict", Target::Development, Action::Predict);
        reads("/environments/staging/predict", Target::Environment("staging".into()), Action::Predict);
        reads("/environments/pre%2Dprod/predict", Target::Environment("pre-prod".into()), Action::Predict);
        reads("/deployment/abc1234/wake", Target::Deployment("abc1234"), Action::Wake);
        reads("/production/websocket", production(), Action::Websocket);
        reads("//production//predict/", production(), Action::Predict);
    }

    #[test]
    fn sync_keeps_the_path_as_it_was_written() {
        reads("/production/sync/v1/chat/completions", production(), Action::Sync("/v1/chat/completions"));
        reads("/production/sync", production(), Action::Sync("/"));
        reads("/production/sync//a%20b//c/", production(), Action::Sync("/a%20b//c/"));
        reads("/production/sync/..a/.b", production(), Action::Sync("/..a/.b"));
    }

    #[test]
    fn sync_leads_nowhere_but_to_the_models_own_paths() {
        for rest in ["/../x", "/a/..", "/a/%2e%2E/b", "/a%2f..%2fb", "/./x", "/%2e%2e%2f"] {
            refuses(&format!("/production/sync{rest}"), Refusal::EscapingPath);
        }
        for rest in
            ["/_greenroom/drain", "//_greenroom/drain", "/%5fgreenroom/drain", "/_greenroom%2Fdrain", "/_greenroom"]
        {
            refuses(&format!("/production/sync{rest}"), Refusal::UnknownPath);
        }
    }

    #[test]
    fn what_this_server_lacks_is_said_clearly() {
        refuses("/production/async_predict", Refusal::AsyncUnavailable);
        refuses("/deployment/abc1234/async_queue_status", Refusal::AsyncUnavailable);
        refuses("/async_request/42", Refusal::AsyncUnavailable);
        for rest in ["", "/", "/production", "/production/predict/x", "/predict", "/environments/staging"] {
            refuses(rest, Refusal::UnknownPath);
        }
        refuses("/environments/%ff/predict", Refusal::MalformedPath);
    }

    proptest! {
        #[test]
        fn no_path_panics_and_no_passthrough_escapes(path in "(/|//)?(models|production|sync|\\.\\.|%2e|%2F|_greenroom|%5f|a|é|/|%|%zz)*") {
            let rest = format!("/production/sync/{path}");
            if let Ok((_, Action::Sync(sent))) = parse(&rest) {
                prop_assert!(sent.starts_with('/') && !sent.starts_with("//"));
                let decoded = percent_decode_str(sent).decode_utf8_lossy().into_owned();
                prop_assert!(!decoded.split('/').any(|segment| segment == ".."));
                prop_assert_ne!(decoded.trim_start_matches('/').split('/').next(), Some(RESERVED));
            }
            let _ = addressed(Some(&path), &path);
            let _ = parse(&path);
        }
    }
}
