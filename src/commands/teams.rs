//! `greenroom teams list|create|rename|delete|members|add|remove`.

use api::v1::{
    service_accounts::ServiceAccounts,
    teams::{SetTeamMemberRequest, Team, TeamMember, TeamMembers, TeamName, TeamTombstone, Teams},
    users::UserTombstone,
};

use super::{Context, users};
use crate::{
    client::Client,
    failure::{Kind, Result},
    words,
};

/// List, make and delete teams, and say who is in them
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the teams that you reach
    List,
    /// Make a team
    Create {
        /// Its name
        name: String,
    },
    /// Give a team another name
    Rename {
        /// Team, by name or id
        team: String,
        /// The new name
        name: String,
    },
    /// Delete a team that nothing and nobody belongs to
    Delete {
        /// Team, by name or id
        team: String,
    },
    /// List who is in a team
    Members {
        /// Team, by name or id
        team: String,
    },
    /// Take somebody into a team, or give them another role in it
    Add {
        /// Team, by name or id
        team: String,
        /// Who: a person's address, a service account's name, or an id
        user: String,
        /// Make them an administrator of the team
        #[arg(long)]
        admin: bool,
    },
    /// Take somebody out of a team
    Remove {
        /// Team, by name or id
        team: String,
        /// Who: a person's address, a service account's name, or an id
        user: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    match args.action {
        Action::List => {
            let found: Teams = client.get(&["v1", "teams"]).await?;
            let row = |team: &Team| {
                let default = if team.default { "default" } else { "" };
                vec![team.name.clone(), team.id.clone(), default.to_owned()]
            };
            printer.table(&found, &["name", "id", ""], found.teams.iter().map(row).collect())
        }
        Action::Create { name } => {
            let made: Team = client.post(&["v1", "teams"], &TeamName { name }).await?;
            printer.answer(&made, |made| format!("made team {} ({})", made.name, made.id))
        }
        Action::Rename { team, name } => {
            let id = client.find_team(&team).await?;
            let renamed: Team = client.patch(&["v1", "teams", &id], &TeamName { name }).await?;
            printer.answer(&renamed, |renamed| format!("team {team} is {} now", renamed.name))
        }
        Action::Delete { team } => {
            let id = client.find_team(&team).await?;
            let gone: TeamTombstone = client.delete(&["v1", "teams", &id]).await?;
            printer.answer(&gone, |_| format!("deleted team {team}"))
        }
        Action::Members { team } => {
            let id = client.find_team(&team).await?;
            let found: TeamMembers = client.get(&["v1", "teams", &id, "members"]).await?;
            let row =
                |member: &TeamMember| vec![member.email.clone(), words::name(&member.role), member.user_id.clone()];
            printer.table(&found, &["who", "role", "id"], found.members.iter().map(row).collect())
        }
        Action::Add { team, user, admin } => {
            let (team_id, user_id) = (client.find_team(&team).await?, find_user(&client, &user).await?);
            let request = SetTeamMemberRequest { role: users::role(admin) };
            let member: TeamMember = client.put(&["v1", "teams", &team_id, "members", &user_id], &request).await?;
            printer.answer(&member, |member| format!("{user} is {} in team {team} now", words::name(&member.role)))
        }
        Action::Remove { team, user } => {
            let (team_id, user_id) = (client.find_team(&team).await?, find_user(&client, &user).await?);
            let gone: UserTombstone = client.delete(&["v1", "teams", &team_id, "members", &user_id]).await?;
            printer.answer(&gone, |_| format!("{user} is not in team {team} any more"))
        }
    }
}

/// Somebody's id: a person's by their address, a service account's by its name, where the caller may see those.
async fn find_user(client: &Client, user: &str) -> Result<String> {
    let unknown = match users::find(client, user).await {
        Err(failure) if failure.kind == Kind::NotFound => failure,
        other => return other,
    };
    let accounts: ServiceAccounts = match client.get(&["v1", "service_accounts"]).await {
        Err(failure) if failure.kind == Kind::Auth => return Err(unknown),
        other => other?,
    };
    let found = accounts.service_accounts.into_iter().find(|account| account.name == user || account.id == user);
    found.map(|account| account.id).ok_or(unknown)
}
