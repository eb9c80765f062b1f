//! The command line's grammar: one subcommand a verb, each with a file of its own in [`crate::commands`].

use clap::{Parser, Subcommand};

use crate::{commands::*, config, failure::EXIT_CODES};

/// Serve machine-learning models from your own machines.
///
/// Push a folder with `config.yaml` and `model/model.py`, get a REST endpoint.
#[derive(Debug, Parser)]
#[command(name = "greenroom", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub client: config::ClientFlags,
    /// Answer with JSON, for machines
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::Args),
    Push(push::Args),
    Watch(watch::Args),
    Predict(predict::Args),
    Promote(promote::Args),
    Release(release::Args),
    Rollback(rollback::Args),
    Rollout(rollout::Args),
    Apply(apply::Args),
    Diff(diff::Args),
    Get(get::Args),
    Status(status::Args),
    Logs(logs::Args),
    Models(models::Args),
    Deployments(deployments::Args),
    Environments(environments::Args),
    Autoscale(autoscale::Args),
    Startups(startups::Args),
    Top(top::Args),
    Open(open::Args),
    Activate(activate::Args),
    Deactivate(deactivate::Args),
    Retry(retry::Args),
    Rename(rename::Args),
    Delete(delete::Args),
    Secrets(secrets::Args),
    Settings(workspace_settings::Args),
    Keys(keys::Args),
    Users(users::Args),
    Teams(teams::Args),
    ServiceAccounts(service_accounts::Args),
    Policies(policies::Args),
    Locations(locations::Args),
    Audit(audit::Args),
    Usage(usage::Args),
    Login(login::Args),
    Config(config_show::Args),
    ClientEnv(client_env::Args),
    Ca(ca::Args),
    RotateServerSecret(rotate_server_secret::Args),
    Completions(completions::Args),
    Openapi(openapi::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_has_no_contradictions() {
        super::Cli::command().debug_assert();
    }
}
