//! `greenroom predict MODEL`: calls a model, and passes its answer on as it comes.

use std::io::Read as _;

use futures::StreamExt as _;

use super::{
    Context,
    target::{self, Choice},
};
use crate::{
    client::Client,
    failure::{Failure, Kind, Result, while_doing},
};

/// Call a model
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, by name or id
    model: String,
    /// The input: JSON, or @FILE, or - for standard input
    #[arg(long, short, value_name = "JSON", default_value = "-")]
    data: String,
    #[command(flatten)]
    choice: Choice,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    let model = target::find_model(&client, &args.model).await?;
    let body = read_input(&args.data)?;

    let mut path = vec!["models", &model.id];
    let deployment;
    match &args.choice {
        Choice { deployment: Some(name_or_id), .. } => {
            deployment = target::find_deployment(&client, &model, name_or_id).await?;
            path.extend(["deployment", &deployment.id]);
        }
        Choice { environment: Some(name), .. } => path.extend(["environments", name]),
        Choice { development: true, .. } => path.push("development"),
        Choice { .. } => path.push("production"),
    }
    path.push("predict");

    let response = client.infer(&path, body).await?;
    let status = response.status();
    if !status.is_success() {
        let body = response.text().await.unwrap_or_default();
        return Err(Client::refusal(status, format!("{} answered {status}: {}", model.name, error_text(&body))));
    }
    let mut pieces = response.bytes_stream();
    let mut ends_line = true;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Failure::new(Kind::Server, format!("the answer broke off: {error}")))?;
        ends_line = piece.last().map_or(ends_line, |last| *last == b'\n');
        printer.bytes(&piece)?;
    }
    if ends_line { Ok(()) } else { printer.bytes(b"\n") }
}

/// The input's bytes, checked to be JSON before anything is sent.
fn read_input(data: &str) -> Result<Vec<u8>> {
    let bytes = match data.strip_prefix('@') {
        Some(path) => std::fs::read(path).map_err(while_doing(format!("cannot read {path}")))?,
        None if data == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map_err(while_doing("cannot read standard input"))?;
            bytes
        }
        None => data.as_bytes().to_vec(),
    };
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        .map_err(|error| Failure::new(Kind::Usage, format!("the input is not JSON: {error}")))?;
    Ok(bytes)
}

/// What an error answer says: the text of its `error`, or all of it.
fn error_text(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(document) => document["error"].as_str().map_or_else(|| body.to_owned(), str::to_owned),
        Err(_) => body.to_owned(),
    }
}
