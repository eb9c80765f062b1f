//! Signs people in by an OpenID provider: the authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636). What a provider says
//! is checked by the library: signature, issuer, audience, nonce, expiry. Keeps nothing of anybody: who begins a sign-in is handed what
//! finishing it takes.
#![forbid(unsafe_code)]

mod client;

use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, TokenResponse,
    core::{CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreProviderMetadata},
};
use secrecy::{ExposeSecret, SecretString};

use client::Http;

/// A provider, as whoever runs the server describes it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address: what its ID tokens call it.
    pub issuer: String,
    /// What this server is called there.
    pub client_id: String,
    /// With what this server identifies itself there; none for a public client.
    pub client_secret: Option<SecretString>,
    /// What is asked for beside `openid`.
    pub scopes: Vec<String>,
}

/// A provider that people sign in by.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    issuer: IssuerUrl,
    http: Http,
}

/// A sign-in that has begun. What it takes to finish it is kept until the provider sends the person back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where the person goes.
    pub url: String,
    /// What the provider brings back, by which this one is found.
    pub state: String,
    /// What the ID token has to say.
    pub nonce: String,
    /// What the code has to be taken with.
    pub verifier: String,
}

/// Who somebody is to their provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Never changes and is nobody else's: the issuer and what it calls them.
    pub subject: String,
    /// Their address, where the provider vouches for it.
    pub verified_email: Option<String>,
    /// Their name.
    pub name: Option<String>,
}

/// Why somebody cannot be signed in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Correct the configuration.
    #[error("{what} {value:?} is not an address: {why}")]
    NotAnAddress {
        /// What should be one.
        what: &'static str,
        /// What it is.
        value: String,
        /// Why it is none.
        why: String,
    },
    /// The provider does not answer, or not as one.
    #[error("the identity provider {issuer} cannot be used: {why}")]
    Provider {
        /// Which.
        issuer: String,
        /// What went wrong.
        why: String,
    },
    /// The provider answers, and what it says of this sign-in is not to be trusted, or it is a no.
    #[error("the identity provider has not confirmed this sign-in: {0}")]
    Refused(String),
}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

impl Provider {
    /// Takes a provider as it is described. Nothing is asked of it yet.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(|error| Error::NotAnAddress {
            what: "the issuer",
            value: settings.issuer.clone(),
            why: error.to_string(),
        })?;
        Ok(Self { settings, issuer, http: Http::new() })
    }

    /// Begins a sign-in that comes back to `redirect`.
    pub async fn begin(&self, redirect: &str) -> Result<Begun, Error> {
        let client = self.client(redirect).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        for scope in &self.settings.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (url, state, nonce) = request.set_pkce_challenge(challenge).url();
        Ok(Begun {
            url: url.into(),
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
        })
    }

    /// Finishes one: takes the code to the provider, and checks what it says of whom.
    pub async fn finish(&self, redirect: &str, code: String, begun: &Begun) -> Result<Identity, Error> {
        let refused = |why: &dyn std::fmt::Display| Error::Refused(why.to_string());
        // Looked up anew each time: people sign in seldom, and keys of providers change.
        let client = self.client(redirect).await?;
        let request = client.exchange_code(AuthorizationCode::new(code)).map_err(|error| self.unusable(&error))?;
        let tokens = request
            .set_pkce_verifier(PkceCodeVerifier::new(begun.verifier.clone()))
            .request_async(&self.http)
            .await
            .map_err(|error| match &error {
                RequestTokenError::ServerResponse(answer) if *answer.error() == CoreErrorResponseType::InvalidGrant => {
                    refused(&client::told(&error))
                }
                // Whoever signs in can do nothing about the rest: a wrong secret, a provider that does not answer.
                _ => self.unusable(&client::told(&error)),
            })?;
        let id_token = tokens.id_token().ok_or_else(|| refused(&"it gave no ID token"))?;
        let verifier = client.id_token_verifier();
        let claims = id_token.claims(&verifier, &Nonce::new(begun.nonce.clone())).map_err(|error| refused(&error))?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = id_token.signing_alg().map_err(|error| refused(&error))?;
            let key = id_token.signing_key(&verifier).map_err(|error| refused(&error))?;
            let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key);
            if hash.map_err(|error| refused(&error))? != *expected {
                return Err(refused(&"its ID token belongs to another access token"));
            }
        }
        let is_verified = claims.email_verified() == Some(true);
        let email = claims.email().map(|email| email.as_str().to_ascii_lowercase());
        Ok(Identity {
            subject: format!("{} {}", claims.issuer().as_str(), claims.subject().as_str()),
            verified_email: email.filter(|_| is_verified),
            name: claims.name().and_then(|name| name.get(None)).map(|name| name.as_str().to_owned()),
        })
    }

    async fn client(&self, redirect: &str) -> Result<Client, Error> {
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http)
            .await
            .map_err(|error| self.unusable(&client::told(&error)))?;
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|error| Error::NotAnAddress {
            what: "the address to come back to",
            value: redirect.to_owned(),
            why: error.to_string(),
        })?;
        let secret = self.settings.client_secret.as_ref();
        let secret = secret.map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
        let id = ClientId::new(self.settings.client_id.clone());
        Ok(CoreClient::from_provider_metadata(metadata, id, secret).set_redirect_uri(redirect))
    }

    fn unusable(&self, why: &dyn std::fmt::Display) -> Error {
        Error::Provider { issuer: self.settings.issuer.clone(), why: why.to_string() }
    }
}
