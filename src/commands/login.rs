//! `greenroom login`: remembers a server and the key to it, or a token that somebody agrees to in a browser.

use std::time::{Duration, Instant};

use api::v1::{
    oauth::{DeviceAuthorization, TokenRequest},
    users::UserInfo,
};
use serde::Serialize;

use super::Context;
use crate::{
    client::{Client, TokenAnswer},
    config,
    failure::{Failure, Kind, Result, while_doing},
};

/// The grant of RFC 8628.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Remember a server (--url) and an API key, typed unseen or read from standard input
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sign in with a browser, on this machine or another one, instead of with a key
    #[arg(long)]
    browser: bool,
}

#[derive(Serialize)]
struct Login {
    url: String,
    user: UserInfo,
    file: std::path::PathBuf,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let printer = context.printer;
    let url = config::Client::resolve(&context.client_flags)?.url;
    let api_key = match args.browser {
        true => sign_in(&url, context).await?,
        false => printer.read_secret(&format!("API key for {url}"))?.trim().to_owned(),
    };
    if api_key.is_empty() {
        return Err(
            Failure::new(Kind::Usage, "no API key was given").hint("or sign in with `greenroom login --browser`")
        );
    }
    let client = Client::new(config::Client { url: url.clone(), api_key: Some(api_key.clone()), team: None })?;
    let user = client.get(&["v1", "users", "me"]).await?;
    let file = config::save_login(&url, &api_key).map_err(while_doing("cannot remember the login"))?;
    let login = Login { url, user, file };
    printer.answer(&login, |login| format!("logged in to {}; kept in {}", login.url, login.file.display()))
}

/// Waits until somebody who is signed in agrees, and returns the token that they agree to.
async fn sign_in(url: &str, context: &Context) -> Result<String> {
    // Nobody asks for a key here.
    let client = Client::new(config::Client { url: url.to_owned(), api_key: Some(String::new()), team: None })?;
    let device: DeviceAuthorization = client.post(&["v1", "oauth", "device_authorization"], &()).await?;
    let DeviceAuthorization { user_code, verification_uri, verification_uri_complete, .. } = &device;
    context.printer.say(&format!(
        "Open {verification_uri_complete}\nand allow the code {user_code}; or open {verification_uri} on another device and type it."
    ));
    if context.printer.is_watched() {
        // Whoever sits at a terminal without a browser reads the line above.
        let _ = open::that_detached(verification_uri_complete);
    }
    let request = TokenRequest {
        grant_type: DEVICE_CODE.to_owned(),
        device_code: Some(device.device_code.clone()),
        ..TokenRequest::default()
    };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(device.expires_in) {
        match client.token(&request).await? {
            TokenAnswer::Token(token) => return Ok(token.access_token),
            TokenAnswer::Refused(refused) if refused.error == "authorization_pending" => {}
            TokenAnswer::Later => {}
            TokenAnswer::Refused(refused) => return Err(Failure::new(Kind::Auth, refused.error_description)),
        }
        tokio::time::sleep(Duration::from_secs(device.interval.max(1))).await;
    }
    Err(Failure::new(Kind::TimedOut, "nobody has agreed in time").hint("run `greenroom login --browser` again"))
}
