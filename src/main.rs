//! The composition root and command line: parses, runs one command, and turns its result into an exit code.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod clock;
mod commands;
mod config;
mod failure;
mod printer;
mod server;
mod telemetry;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    commands::*,
    failure::{Failure, Kind, Result},
    printer::Printer,
};

fn main() -> ExitCode {
    let Cli { client, json, command } = Cli::parse();
    let context = Context { client_flags: client, printer: Printer::new(json), parting_words: Default::default() };
    match start(command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.printer.failure(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

fn start(command: Command, context: &Context) -> Result {
    // A server uses every core and ends itself on signals; a command waits for one answer at a time and just stops.
    let is_server = matches!(command, Command::Serve(_));
    let mut runtime = match is_server {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build().map_err(failure::while_doing("cannot start"))?;
    let result = runtime.block_on(async {
        let interrupted = async {
            match is_server {
                true => std::future::pending().await,
                false => tokio::signal::ctrl_c().await,
            }
        };
        tokio::select! {
            result = run(command, context) => result,
            Ok(()) = interrupted => {
                let failure = Failure::new(Kind::Interrupted, "interrupted");
                Err(Failure { hint: context.parting_words.take(), ..failure })
            }
        }
    });
    // Somebody may be blocked in a read that never ends; nobody waits for them.
    runtime.shutdown_background();
    result
}

async fn run(command: Command, context: &Context) -> Result {
    match command {
        Command::Serve(args) => serve::run(args, context).await,
        Command::Push(args) => push::run(args, context).await,
        Command::Watch(args) => watch::run(args, context).await,
        Command::Predict(args) => predict::run(args, context).await,
        Command::Promote(args) => promote::run(args, context).await,
        Command::Release(args) => release::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Rollout(args) => rollout::run(args, context).await,
        Command::Apply(args) => apply::run(args, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Get(args) => get::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Models(args) => models::run(args, context).await,
        Command::Deployments(args) => deployments::run(args, context).await,
        Command::Environments(args) => environments::run(args, context).await,
        Command::Autoscale(args) => autoscale::run(args, context).await,
        Command::Startups(args) => startups::run(args, context).await,
        Command::Open(args) => open::run(args, context).await,
        Command::Top(args) => top::run(args, context).await,
        Command::Activate(args) => activate::run(args, context).await,
        Command::Deactivate(args) => deactivate::run(args, context).await,
        Command::Retry(args) => retry::run(args, context).await,
        Command::Rename(args) => rename::run(args, context).await,
        Command::Delete(args) => delete::run(args, context).await,
        Command::Secrets(args) => secrets::run(args, context).await,
        Command::Settings(args) => workspace_settings::run(args, context).await,
        Command::Keys(args) => keys::run(args, context).await,
        Command::Users(args) => users::run(args, context).await,
        Command::Teams(args) => teams::run(args, context).await,
        Command::ServiceAccounts(args) => service_accounts::run(args, context).await,
        Command::Policies(args) => policies::run(args, context).await,
        Command::Locations(args) => locations::run(args, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Usage(args) => usage::run(args, context).await,
        Command::Login(args) => login::run(args, context).await,
        Command::Config(args) => config_show::run(args, context),
        Command::ClientEnv(args) => client_env::run(args, context),
        Command::Ca(args) => ca::run(args, context),
        Command::RotateServerSecret(args) => rotate_server_secret::run(args, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Openapi(args) => openapi::run(args, context),
    }
}
