//! The command line's view of a server: typed calls, and failures turned into exit codes with hints.

use std::time::Duration;

use api::{
    error::ManagementError,
    v1::{
        oauth::{TokenError, TokenRequest, TokenResponse},
        teams::Teams,
    },
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    config,
    failure::{Failure, Kind, Result},
};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a management call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a call may take for which the server reads a whole archive, or waits for something.
const PATIENT_CALL_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a request for a token is answered.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum TokenAnswer {
    /// There it is.
    Token(TokenResponse),
    /// Why it is not.
    Refused(TokenError),
    /// The server has no time for an answer.
    #[serde(skip)]
    Later,
}

/// A connection to one server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    api_key: String,
    /// By name or id.
    team: Option<String>,
}

impl Client {
    /// Prepares to talk to a server. Makes no call.
    pub fn new(settings: config::Client) -> Result<Self> {
        let Some(api_key) = settings.api_key else {
            let message = format!("no API key for {}", settings.url);
            return Err(Failure::new(Kind::Auth, message).hint("run `greenroom login`, or set GREENROOM_API_KEY"));
        };
        let invalid = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Usage, format!("`{}` is not a server's URL: {error}", settings.url))
        };
        let url = Url::parse(&settings.url).map_err(|error| invalid(&error))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(invalid(&"expected http:// or https://"));
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("greenroom/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| Failure::new(Kind::Failed, format!("cannot prepare HTTP: {error}")))?;
        Ok(Self { http, url, api_key, team: settings.team })
    }

    /// The server's base URL, without a trailing slash.
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The address of something of the server's, for people.
    pub fn address(&self, path: &[impl AsRef<str>]) -> String {
        self.at(path, &[]).into()
    }

    /// The team that was asked for; none where the key's own is meant.
    pub async fn team_id(&self) -> Result<Option<String>> {
        match &self.team {
            Some(team) => self.find_team(team).await.map(Some),
            None => Ok(None),
        }
    }

    /// A team's id, by its name or the id itself.
    pub async fn find_team(&self, team: &str) -> Result<String> {
        let found: Teams = self.get(&["v1", "teams"]).await?;
        let found = found.teams.into_iter().find(|one| one.name == team || one.id == team);
        found.map(|found| found.id).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("no team that you reach has the name or id `{team}`"))
                .hint("`greenroom teams list` lists them")
        })
    }

    /// The path of something in the team that is meant.
    pub async fn in_team(&self, rest: &[&str]) -> Result<Vec<String>> {
        let team = self.team_id().await?;
        let team = team.as_deref().map_or(vec!["v1"], |id| vec!["v1", "teams", id]);
        Ok(team.iter().chain(rest).map(|&part| part.to_owned()).collect())
    }

    /// Reads a resource.
    pub async fn get<T: DeserializeOwned>(&self, path: &[impl AsRef<str>]) -> Result<T> {
        self.get_where(path, &[]).await
    }

    /// Reads a resource; none where it is not there.
    pub async fn find<T: DeserializeOwned>(&self, path: &[impl AsRef<str>]) -> Result<Option<T>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.kind == Kind::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Reads a resource, with a query.
    pub async fn get_where<T: DeserializeOwned>(
        &self,
        path: &[impl AsRef<str>],
        query: &[(&str, String)],
    ) -> Result<T> {
        let url = self.at(path, query);
        self.call::<(), T>(Method::GET, url, None, CALL_TIMEOUT).await
    }

    /// Reads a resource that is a text.
    pub async fn text(&self, path: &[impl AsRef<str>], query: &[(&str, String)]) -> Result<String> {
        let text = self.answer::<()>(Method::GET, self.at(path, query), None, CALL_TIMEOUT).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Creates or acts.
    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &[impl AsRef<str>], body: &B) -> Result<T> {
        self.post_where(path, &[], body).await
    }

    /// Creates or acts, with a query.
    pub async fn post_where<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &[impl AsRef<str>],
        query: &[(&str, String)],
        body: &B,
    ) -> Result<T> {
        self.call(Method::POST, self.at(path, query), Some(body), CALL_TIMEOUT).await
    }

    /// Creates or acts, where the server reads a whole archive or waits for something before it answers.
    pub async fn post_patiently<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &[impl AsRef<str>],
        body: &B,
    ) -> Result<T> {
        self.call(Method::POST, self.at(path, &[]), Some(body), PATIENT_CALL_TIMEOUT).await
    }

    /// Puts something in the place of what is there.
    pub async fn put<B: Serialize, T: DeserializeOwned>(&self, path: &[impl AsRef<str>], body: &B) -> Result<T> {
        self.put_where(path, &[], body).await
    }

    /// Puts something in the place of what is there, with a query.
    pub async fn put_where<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &[impl AsRef<str>],
        query: &[(&str, String)],
        body: &B,
    ) -> Result<T> {
        self.call(Method::PUT, self.at(path, query), Some(body), CALL_TIMEOUT).await
    }

    /// Changes a resource.
    pub async fn patch<B: Serialize, T: DeserializeOwned>(&self, path: &[impl AsRef<str>], body: &B) -> Result<T> {
        self.patch_where(path, &[], body).await
    }

    /// Changes a resource, with a query.
    pub async fn patch_where<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &[impl AsRef<str>],
        query: &[(&str, String)],
        body: &B,
    ) -> Result<T> {
        self.call(Method::PATCH, self.at(path, query), Some(body), CALL_TIMEOUT).await
    }

    /// Removes a resource.
    pub async fn delete<T: DeserializeOwned>(&self, path: &[impl AsRef<str>]) -> Result<T> {
        self.delete_where(path, &[]).await
    }

    /// Removes a resource, with a query.
    pub async fn delete_where<T: DeserializeOwned>(
        &self,
        path: &[impl AsRef<str>],
        query: &[(&str, String)],
    ) -> Result<T> {
        self.call::<(), T>(Method::DELETE, self.at(path, query), None, CALL_TIMEOUT).await
    }

    /// Asks for a token, which may not be there yet.
    pub async fn token(&self, request: &TokenRequest) -> Result<TokenAnswer> {
        let url = self.at(&["v1", "oauth", "token"], &[]);
        let answer = self.http.post(url).timeout(CALL_TIMEOUT).json(request).send().await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS || answer.status().is_server_error() {
            return Ok(TokenAnswer::Later);
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.not_understood(&error))
    }

    /// Calls a model. The answer is the model's, whatever it is; only an unreachable server is a failure here.
    pub async fn infer(&self, path: &[impl AsRef<str>], body: Vec<u8>) -> Result<Response> {
        self.http
            .post(self.at(path, &[]))
            .header("authorization", format!("Api-Key {}", self.api_key))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    /// What a refused call to a model means for the caller.
    pub fn refusal(status: StatusCode, message: String) -> Failure {
        let kind = match status.as_u16() {
            401 | 403 => Kind::Auth,
            404 => Kind::NotFound,
            408 | 504 => Kind::TimedOut,
            400..=499 => Kind::Invalid,
            _ => Kind::Server,
        };
        let failure = Failure::new(kind, message);
        match status {
            StatusCode::UNAUTHORIZED => failure.hint("run `greenroom login` with a valid key"),
            _ => failure,
        }
    }

    /// The URL of a path, each segment escaped.
    fn at(&self, path: &[impl AsRef<str>], query: &[(&str, String)]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut().expect("checked when made").pop_if_empty().extend(path.iter().map(AsRef::as_ref));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<&B>,
        limit: Duration,
    ) -> Result<T> {
        let answer = self.answer(method, url, body, limit).await?;
        serde_json::from_slice(&answer).map_err(|error| self.not_understood(&error))
    }

    fn not_understood(&self, error: &serde_json::Error) -> Failure {
        let message = format!("{} answered what this version does not understand: {error}", self.url());
        Failure::new(Kind::Server, message).hint("is it a Greenroom server of the same version?")
    }

    /// The body of a success.
    async fn answer<B: Serialize>(
        &self,
        method: Method,
        url: Url,
        body: Option<&B>,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        let mut request =
            self.http.request(method, url).header("authorization", format!("Api-Key {}", self.api_key)).timeout(limit);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        if !status.is_success() {
            let message = match serde_json::from_slice::<ManagementError>(&body) {
                Ok(error) => error.message,
                Err(_) => format!("{} answered {status}", self.url()),
            };
            return Err(Self::refusal(status, message));
        }
        Ok(body.into())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::new(Kind::TimedOut, format!("{} did not answer in time", self.url()));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let failure = Failure::new(Kind::Server, format!("cannot reach {}: {cause}", self.url()));
        match error.is_connect() {
            true => failure.hint("start a server with `greenroom serve`, or name another one with --url"),
            false => failure,
        }
    }
}
