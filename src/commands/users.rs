//! `greenroom users list|add|set|remove`: who is in the organization.

use api::v1::users::{CreateUserRequest, NewUser, Role, UpdateUserRequest, UserInfo, UserTombstone, UsersResponse};

use super::Context;
use crate::{
    client::Client,
    failure::{Failure, Kind, Result},
    words,
};

/// List people, let them in and out, and say who administers the organization
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the people
    List,
    /// Let somebody in, as a member of a team (--team; the default team without it)
    Add {
        /// Their address
        email: String,
        /// Their name
        #[arg(long)]
        name: Option<String>,
        /// Make them an administrator of the organization
        #[arg(long)]
        admin: bool,
        /// Make a key for them and print it, once; without it they sign in by the identity provider
        #[arg(long)]
        with_key: bool,
    },
    /// Change somebody's name, or what they are in the organization
    Set {
        /// Who, by address or id
        user: String,
        /// Their name
        #[arg(long)]
        name: Option<String>,
        /// What they are
        #[arg(long, value_enum)]
        role: Option<RoleArg>,
    },
    /// Let somebody out: all their keys end
    Remove {
        /// Who, by address or id
        user: String,
    },
}

/// What somebody is, as it is typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleArg {
    /// Deploys, manages and calls models
    Member,
    /// Says who may do what, too
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Member => Role::Member,
            RoleArg::Admin => Role::Admin,
        }
    }
}

/// The role that a switch `--admin` says.
pub(super) fn role(is_admin: bool) -> Role {
    if is_admin { Role::Admin } else { Role::Member }
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    match args.action {
        Action::List => {
            let found = all(&client).await?;
            let row = |user: &UserInfo| {
                let maybe = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                vec![maybe(&user.email), maybe(&user.name), words::name(&user.role), user.user_id.clone()]
            };
            printer.table(&found, &["email", "name", "role", "id"], found.iter().map(row).collect())
        }
        Action::Add { email, name, admin, with_key } => {
            let team = client.team_id().await?;
            let teams = team.map(|team_id| vec![api::v1::users::Membership { team_id, role: Role::Member }]);
            let request = CreateUserRequest { email, name, role: role(admin), teams, with_api_key: with_key };
            let made: NewUser = client.post(&["v1", "users"], &request).await?;
            if made.api_key.is_some() {
                printer.say("Hand this key over safely; it is not shown again.");
            }
            let said = |made: &NewUser| {
                made.api_key.clone().unwrap_or_else(|| format!("{} is in", made.user.email.clone().unwrap_or_default()))
            };
            printer.answer(&made, said)
        }
        Action::Set { user, name, role } => {
            let id = find(&client, &user).await?;
            let request = UpdateUserRequest { name, role: role.map(Role::from) };
            let changed: UserInfo = client.patch(&["v1", "users", &id], &request).await?;
            printer.answer(&changed, |changed| format!("{user} is {} now", words::name(&changed.role)))
        }
        Action::Remove { user } => {
            let id = find(&client, &user).await?;
            let gone: UserTombstone = client.delete(&["v1", "users", &id]).await?;
            printer.answer(&gone, |_| format!("{user} is out; their keys have ended"))
        }
    }
}

/// A person's id, by their address or the id itself.
pub(super) async fn find(client: &Client, user: &str) -> Result<String> {
    let is_meant = |found: &UserInfo| {
        found.user_id == user || found.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(user))
    };
    let found = all(client).await?.into_iter().find(is_meant);
    found.map(|found| found.user_id).ok_or_else(|| {
        Failure::new(Kind::NotFound, format!("nobody has the address or id `{user}`"))
            .hint("`greenroom users list` lists the people")
    })
}

async fn all(client: &Client) -> Result<Vec<UserInfo>> {
    let mut users = Vec::new();
    let mut cursor = Vec::new();
    loop {
        let page: UsersResponse = client.get_where(&["v1", "users"], &cursor).await?;
        users.extend(page.items);
        match page.pagination.cursor.filter(|_| page.pagination.has_more) {
            Some(next) => cursor = vec![("cursor", next)],
            None => return Ok(users),
        }
    }
}
