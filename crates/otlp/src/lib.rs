//! Sends traces and log lines to an OpenTelemetry collector: OTLP over HTTP with protobuf, as
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp> has it.
#![forbid(unsafe_code)]

mod attributes;
mod lines;
mod spans;

use std::{collections::BTreeMap, time::Duration};

use api::internal::{outgoing::OutgoingLine, trace::Trace};
use prost::Message;
use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use tokio::{sync::mpsc, time::timeout};

/// How long a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So many traces are sent together at most, and none waits longer for others than this.
const BATCH: usize = 256;
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How often traces are sent again that a collector does not take just now, at first after this time, then after twice as long.
const TRIES: u32 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// A collector that asks for more patience than this is not waited for.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Where the collector is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its base URL, such as `http://collector:4318`; signals are sent below it.
    pub endpoint: String,
    /// What it wants with every request: keys, tenants. Their values are secrets.
    pub headers: BTreeMap<String, String>,
}

/// Why a collector cannot be used or has not taken something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Change the configuration.
    #[error("`{name}` is not usable: {reason}")]
    Configuration {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Try again.
    #[error("the collector does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Try again, after the time it asks for.
    #[error("the collector answers {status}: it is busy")]
    Busy {
        /// What it answers.
        status: StatusCode,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It will never take this.
    #[error("the collector answers {status}: {text}")]
    Refused {
        /// What it answers.
        status: StatusCode,
        /// Its words, shortened.
        text: String,
    },
}

impl Error {
    /// Whether it is what was sent that is not taken, and will not be another time.
    pub fn is_final(&self) -> bool {
        let refused = match self {
            Error::Refused { status, .. } => Some(*status),
            Error::Configuration { .. } | Error::Unreachable(_) | Error::Busy { .. } => None,
        };
        refused.is_some_and(|status| matches!(status.as_u16(), 400 | 413 | 422))
    }

    /// How long to wait before another try; none where no other try will do better.
    fn patience(&self, usual: Duration) -> Option<Duration> {
        match self {
            Error::Unreachable(_) => Some(usual),
            Error::Busy { retry_after, .. } => {
                Some(retry_after.unwrap_or(usual)).filter(|patience| *patience <= LONGEST_RETRY)
            }
            Error::Configuration { .. } | Error::Refused { .. } => None,
        }
    }
}

/// A collector. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    client: Client,
    traces: Url,
    logs: Url,
}

impl Collector {
    /// Checks the settings; says nothing to the collector yet.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &settings.headers {
            let refuse = |reason: &str| Error::Configuration {
                name: "otlp.headers",
                reason: format!("the header `{name}` {reason}"),
            };
            let header: HeaderName = name.parse().map_err(|_| refuse("has an impossible name"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| refuse("has an impossible value"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .timeout(TIMEOUT)
            // A redirected POST may arrive as a GET without its body, and its headers are for this collector alone.
            .redirect(Policy::none())
            .build()
            .map_err(Error::Unreachable)?;
        let below = |path| {
            let url = format!("{}{path}", settings.endpoint.trim_end_matches('/'));
            let refuse = |reason: String| Error::Configuration { name: "otlp.endpoint", reason };
            let url = Url::parse(&url).map_err(|error| refuse(format!("it is not a URL: {error}")))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(refuse("it has a user in it: say who we are in `otlp.headers`".into()));
            }
            let is_http = matches!(url.scheme(), "http" | "https");
            is_http.then_some(url).ok_or_else(|| refuse("it needs to be an http:// or https:// URL".into()))
        };
        Ok(Self { traces: below("/v1/traces")?, logs: below("/v1/logs")?, client })
    }

    /// Sends traces once.
    pub async fn send_traces(&self, traces: &[Trace]) -> Result<(), Error> {
        self.post(&self.traces, spans::request(traces).encode_to_vec()).await
    }

    /// Sends lines once.
    pub async fn send_lines(&self, lines: &[OutgoingLine]) -> Result<(), Error> {
        self.post(&self.logs, lines::request(lines).encode_to_vec()).await
    }

    /// Sends what comes until nobody can send any more. What a collector does not take in several tries is given up: traces are
    /// worth less than the memory to keep them.
    pub async fn carry(self, mut traces: mpsc::Receiver<Trace>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(first) = traces.recv().await {
            batch.push(first);
            let more = async {
                while batch.len() < BATCH {
                    match traces.recv().await {
                        Some(trace) => batch.push(trace),
                        None => return,
                    }
                }
            };
            // Whether it is full or time is up, it is sent.
            let _ = timeout(BATCH_WAIT, more).await;
            self.send_persistently(&batch).await;
            batch.clear();
        }
    }

    async fn send_persistently(&self, batch: &[Trace]) {
        let mut usual = FIRST_RETRY;
        for attempt in 1..=TRIES {
            let Err(error) = self.send_traces(batch).await else { return };
            match error.patience(usual) {
                Some(patience) if attempt < TRIES => tokio::time::sleep(patience).await,
                _ => {
                    let error: &dyn std::error::Error = &error;
                    return tracing::warn!(error, traces = batch.len(), "traces are lost");
                }
            }
            usual *= 2;
        }
    }

    async fn post(&self, url: &Url, body: Vec<u8>) -> Result<(), Error> {
        let answer = self.client.post(url.clone()).body(body).send().await;
        // Its address may hold a password.
        let answer = answer.map_err(|error| Error::Unreachable(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        // What the protocol names as worth another try.
        if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
            let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(Error::Busy { status, retry_after: seconds.map(Duration::from_secs) });
        }
        let text = answer.text().await.unwrap_or_default();
        Err(Error::Refused { status, text: text.chars().take(200).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(endpoint: &str, headers: &[(&str, &str)]) -> String {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let collector = Collector::new(&Settings { endpoint: endpoint.into(), headers });
        collector.err().expect("refused").to_string()
    }

    #[test]
    fn settings_that_cannot_work_are_refused_without_their_secrets() {
        assert!(problem("collector:4318", &[]).contains("`otlp.endpoint` is not usable"));
        let with_password = problem("http://me:hunter2@collector:4318", &[]);
        assert!(with_password.contains("otlp.headers") && !with_password.contains("hunter2"), "{with_password}");
        let problem = problem("http://collector:4318", &[("x-key", "line\nbreak")]);
        assert_eq!(problem, "`otlp.headers` is not usable: the header `x-key` has an impossible value");
    }

    #[test]
    fn signals_go_below_the_endpoint_wherever_that_is() {
        let settings = Settings { endpoint: "https://example.com/otlp/".into(), headers: BTreeMap::new() };
        let collector = Collector::new(&settings).expect("usable");
        assert_eq!(collector.traces.as_str(), "https://example.com/otlp/v1/traces");
        assert_eq!(collector.logs.as_str(), "https://example.com/otlp/v1/logs");
    }
}
