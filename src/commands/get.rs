//! `greenroom get KIND [NAME]`: what there is, as documents that `apply` takes, or as a table.

use super::{
    Context,
    apply::{Kind as ObjectKind, Object, list},
};
use crate::{
    failure::{Failure, Kind, Result},
    words,
};

/// Show settings, policies, secrets and environments, as YAML for `greenroom apply` too
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What
    #[arg(value_enum)]
    kind: Which,
    /// Only the one of this name
    name: Option<String>,
    /// Only environments of this model, by name or id
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// How it is written
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// What holds for the whole workspace
    Settings,
    /// Policies
    Policies,
    /// Names of secrets; values never come out
    Secrets,
    /// Environments of models
    Environments,
    /// Who may change the environments of a name
    EnvironmentGroups,
    /// All of these
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Rows
    Table,
    /// Documents that `greenroom apply` takes
    Yaml,
    /// The same as a list in JSON
    Json,
}

impl Which {
    fn kinds(self) -> Vec<ObjectKind> {
        match self {
            Self::Settings => vec![ObjectKind::WorkspaceSettings],
            Self::Policies => vec![ObjectKind::Policy],
            Self::Secrets => vec![ObjectKind::Secret],
            Self::Environments => vec![ObjectKind::Environment],
            Self::EnvironmentGroups => vec![ObjectKind::EnvironmentGroup],
            Self::All => ObjectKind::ALL.to_vec(),
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let mut objects = Vec::new();
    for kind in args.kind.kinds() {
        objects.extend(list(&client, kind, args.model.as_deref()).await?);
    }
    if let Some(name) = &args.name {
        objects.retain(|object| object.id.name() == name);
        if objects.is_empty() {
            return Err(Failure::new(Kind::NotFound, format!("there is nothing named `{name}` of this kind")));
        }
    }
    let printer = context.printer;
    match args.output {
        Output::Table => printer.table(&objects, &["kind", "model", "name", "says"], objects.iter().map(row).collect()),
        Output::Json => printer.document(&objects),
        Output::Yaml => printer.line(yaml(&objects)?.trim_end()),
    }
}

fn yaml(objects: &[Object]) -> Result<String> {
    serde_saphyr::to_string_multiple(objects)
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot write YAML: {error}")))
}

fn row(object: &Object) -> Vec<String> {
    let says: Vec<String> = object.fields.iter().map(|(field, value)| format!("{field}: {value}")).collect();
    let model = object.id.model.clone().unwrap_or_else(|| "-".to_owned());
    vec![object.id.kind.as_str().to_owned(), model, object.id.name().to_owned(), words::short(&says.join(", "))]
}
