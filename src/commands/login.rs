//! `greenroom login`: remembers a server and the key to it.

use api::v1::users::UserInfo;
use serde::Serialize;

use super::Context;
use crate::{
    client::Client,
    config,
    failure::{Failure, Kind, Result, while_doing},
};

/// Remember a server (--url) and an API key, typed unseen or read from standard input
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Login {
    url: String,
    user: UserInfo,
    file: std::path::PathBuf,
}

pub async fn run(_: Args, context: &Context) -> Result {
    let printer = context.printer;
    let url = config::Client::resolve(&context.client_flags)?.url;
    let api_key = printer.read_secret(&format!("API key for {url}"))?.trim().to_owned();
    if api_key.is_empty() {
        return Err(Failure::new(Kind::Usage, "no API key was given"));
    }
    let client = Client::new(config::Client { url: url.clone(), api_key: Some(api_key.clone()), team: None })?;
    let user = client.get(&["v1", "users", "me"]).await?;
    let file = config::save_login(&url, &api_key).map_err(while_doing("cannot remember the login"))?;
    let login = Login { url, user, file };
    printer.answer(&login, |login| format!("logged in to {}; kept in {}", login.url, login.file.display()))
}
