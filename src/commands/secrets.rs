//! `greenroom secrets list|set|delete`. A value is typed unseen or read from standard input, never from the command line.

use api::v1::secrets::{Secret, SecretTombstone, Secrets, UpsertSecretRequest};

use super::Context;
use crate::{clock, failure::Result, words::age};

/// List, set or delete the secrets that models may ask for
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the names of secrets
    List,
    /// Set a secret to a value that is typed unseen, or read from standard input
    Set {
        /// Its name, as `config.yaml` declares it
        name: String,
    },
    /// Delete a secret
    Delete {
        /// Its name
        name: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let printer = context.printer;
    match args.action {
        Action::List => {
            let found: Secrets = client.get(&client.in_team(&["secrets"]).await?).await?;
            let now = clock::now();
            let row = |secret: &Secret| vec![secret.name.clone(), secret.id.clone(), age(now, &secret.created_at)];
            printer.table(&found, &["name", "id", "age"], found.secrets.iter().map(row).collect())
        }
        Action::Set { name } => {
            let value = printer.read_secret(&format!("Value of {name}"))?;
            let path = client.in_team(&["secrets"]).await?;
            let secret: Secret = client.post(&path, &UpsertSecretRequest { name, value }).await?;
            printer.answer(&secret, |secret| format!("set secret {}", secret.name))
        }
        Action::Delete { name } => {
            let gone: SecretTombstone = client.delete(&client.in_team(&["secrets", &name]).await?).await?;
            printer.answer(&gone, |gone| format!("deleted secret {}", gone.name))
        }
    }
}
