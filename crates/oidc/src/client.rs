//! How a provider is asked: our own HTTP client, which follows no redirection, waits a while and reads so much.

use std::{error::Error, pin::Pin, time::Duration};

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

/// How long a provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1 << 20;

/// The client. None where this machine cannot make one, which is told when it is used.
#[derive(Debug)]
pub(crate) struct Http(Option<reqwest::Client>);

/// Why a provider was not asked, or not to the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("this machine has no TLS")]
    NoClient,
    #[error("its answer is longer than {LONGEST_ANSWER} bytes")]
    TooLong,
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Malformed(#[from] http::Error),
}

impl Http {
    pub fn new() -> Self {
        // A redirection could lead a request with our secret elsewhere.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
        Self(client.build().ok())
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let client = self.0.as_ref().ok_or(Unanswered::NoClient)?;
        let mut answer = client.execute(reqwest::Request::try_from(request)?).await?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(Unanswered::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Unanswered>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// An error with its causes, the deepest last: a provider's refusal says nothing by itself.
pub(crate) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
