//! `greenroom service-accounts list|create|rotate|delete`.

use api::v1::{
    service_accounts::{
        CreateServiceAccountRequest, ServiceAccount, ServiceAccountSecret, ServiceAccountTombstone, ServiceAccounts,
    },
    users::{Membership, Role},
};

use super::{Context, users};
use crate::{
    client::Client,
    clock,
    failure::{Failure, Kind, Result},
    words::{self, age},
};

/// List and make service accounts: programs that ask for tokens with a client id and a secret
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the service accounts
    List,
    /// Make one, as a member of a team (--team; the default team without it), and print its client id and secret, once
    Create {
        /// Lower-case letters, digits and hyphens
        name: String,
        /// Make it an administrator of the organization
        #[arg(long)]
        admin: bool,
    },
    /// Give one another client id and secret; its tokens and keys end
    Rotate {
        /// Service account, by name or id
        account: String,
    },
    /// Delete one with its keys and tokens
    Delete {
        /// Service account, by name or id
        account: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    let show = |made: &ServiceAccountSecret| {
        format!("client id      {}\nclient secret  {}", made.service_account.client_id, made.client_secret)
    };
    match args.action {
        Action::List => {
            let found: ServiceAccounts = client.get(&["v1", "service_accounts"]).await?;
            let now = clock::now();
            let row = |account: &ServiceAccount| {
                let (role, age) = (words::name(&account.role), age(now, &account.secret_created_at));
                vec![account.name.clone(), account.client_id.clone(), role, account.id.clone(), age]
            };
            let rows = found.service_accounts.iter().map(row).collect();
            printer.table(&found, &["name", "client id", "role", "id", "secret's age"], rows)
        }
        Action::Create { name, admin } => {
            let team = client.team_id().await?;
            let teams = team.map(|team_id| vec![Membership { team_id, role: Role::Member }]);
            let request = CreateServiceAccountRequest { name, role: users::role(admin), teams };
            let made: ServiceAccountSecret = client.post(&["v1", "service_accounts"], &request).await?;
            printer.say("Keep the secret; it is not shown again.");
            printer.answer(&made, show)
        }
        Action::Rotate { account } => {
            let id = find(&client, &account).await?;
            let path = ["v1", "service_accounts", &id, "rotate"];
            let rotated: ServiceAccountSecret = client.post(&path, &()).await?;
            printer.say(
                "Keep the secret; it is not shown again. The one before has ended, and so have its tokens and keys.",
            );
            printer.answer(&rotated, show)
        }
        Action::Delete { account } => {
            let id = find(&client, &account).await?;
            let gone: ServiceAccountTombstone = client.delete(&["v1", "service_accounts", &id]).await?;
            printer.answer(&gone, |_| format!("deleted service account {account}"))
        }
    }
}

async fn find(client: &Client, account: &str) -> Result<String> {
    let found: ServiceAccounts = client.get(&["v1", "service_accounts"]).await?;
    let found = found.service_accounts.into_iter().find(|one| one.name == account || one.id == account);
    found.map(|found| found.id).ok_or_else(|| {
        Failure::new(Kind::NotFound, format!("no service account has the name or id `{account}`"))
            .hint("`greenroom service-accounts list` lists them")
    })
}
