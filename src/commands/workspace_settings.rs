//! `greenroom settings get|set`: what holds for the whole workspace.

use api::v1::workspace_settings::{UpdateWorkspaceSettingsRequest, WorkspaceSettings};

use super::Context;
use crate::{client::Client, failure::Result};

/// Where the settings are.
pub const PATH: [&str; 2] = ["v1", "workspace_settings"];
/// What takes a setting away.
const NONE: &str = "none";

/// Show or change what holds for the whole workspace
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the settings; without an action, too
    Get,
    /// Change a setting; it counts from the next push on
    Set {
        #[command(subcommand)]
        setting: Setting,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Setting {
    /// The environment that a push goes to when it names none
    DefaultEnvironment {
        /// The environment; `none`: the first deployment that works goes to production, the others to no environment
        name: String,
    },
    /// The environments that a new model has beside production
    InitialEnvironments {
        /// The environments, with commas between them; `none` for no others
        #[arg(value_delimiter = ',', required = true)]
        names: Vec<String>,
    },
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let settings = match args.action.unwrap_or(Action::Get) {
        Action::Get => read(&client).await?,
        Action::Set { setting } => client.patch(&PATH, &change(setting)).await?,
    };
    context.printer.answer(&settings, shown)
}

/// The settings as they are.
pub async fn read(client: &Client) -> Result<WorkspaceSettings> {
    client.get(&PATH).await
}

fn change(setting: Setting) -> UpdateWorkspaceSettingsRequest {
    let unchanged = UpdateWorkspaceSettingsRequest::default();
    match setting {
        Setting::DefaultEnvironment { name } => {
            UpdateWorkspaceSettingsRequest { default_environment: Some((name != NONE).then_some(name)), ..unchanged }
        }
        Setting::InitialEnvironments { names } => {
            let names = if names == [NONE] { Vec::new() } else { names };
            UpdateWorkspaceSettingsRequest { initial_environments: Some(names), ..unchanged }
        }
    }
}

fn shown(settings: &WorkspaceSettings) -> String {
    let initial = settings.initial_environments.join(",");
    format!(
        "default-environment   {}\ninitial-environments  {}",
        settings.default_environment.as_deref().unwrap_or(NONE),
        if initial.is_empty() { NONE } else { &initial },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_can_be_set() {
        let settings = WorkspaceSettings {
            default_environment: Some("development".to_owned()),
            initial_environments: vec!["development".to_owned(), "staging".to_owned()],
        };
        assert_eq!(shown(&settings), "default-environment   development\ninitial-environments  development,staging");
        assert_eq!(shown(&WorkspaceSettings::default()), "default-environment   none\ninitial-environments  none");
        let none = change(Setting::InitialEnvironments { names: vec![NONE.to_owned()] });
        assert_eq!(none.initial_environments, Some(Vec::new()));
        let none = change(Setting::DefaultEnvironment { name: NONE.to_owned() });
        assert_eq!(none.default_environment, Some(None));
    }
}
