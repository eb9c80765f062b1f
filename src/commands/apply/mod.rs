//! `greenroom apply -f FILE`: makes everything as documents say; what is so already stays as it is.

mod carry_out;
mod comparison;
mod documents;
mod live;
mod object;
mod plan;

use serde::Serialize;

use self::plan::at;
pub use self::{
    comparison::Change,
    documents::Files,
    live::list,
    object::{Kind, Object},
    plan::{Outcome, Step, plan},
};
use super::Context;
use crate::failure::{Failure, Result};

/// Make settings, policies, secrets and environments as YAML documents say
///
/// All documents are read, checked and compared first; then what differs is changed: settings, policies, secrets, environments, access.
/// What a document does not name stays as it is, and nothing is ever deleted. `greenroom get all -o yaml` writes such documents,
/// `greenroom diff` shows what would change.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    /// Say what would be created and changed; change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Applied<'a> {
    dry_run: bool,
    objects: &'a [Step],
}

pub async fn run(args: Args, context: &Context) -> Result {
    let client = context.client()?;
    let steps = plan(&client, &args.files).await?;
    for step in &steps {
        carry_out::try_out(&client, step).await.map_err(|failure| at(&step.place, &step.id, failure))?;
    }
    if !args.dry_run {
        for (done, step) in steps.iter().enumerate() {
            carry_out::carry_out(&client, step).await.map_err(|failure| stopped(step, done, failure))?;
        }
    }
    context.printer.answer(&Applied { dry_run: args.dry_run, objects: &steps }, |applied| {
        let line = |step: &Step| format!("{} {}", step.id, told(step.outcome, applied.dry_run));
        applied.objects.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// A failure in the middle: what stands before it is done.
fn stopped(step: &Step, done: usize, failure: Failure) -> Failure {
    let failure = at(&step.place, &step.id, failure);
    match done {
        0 => failure,
        _ => {
            failure.hint(format!("the {done} before it are as their documents say; mend this one, and apply all again"))
        }
    }
}

fn told(outcome: Outcome, is_dry_run: bool) -> &'static str {
    match (outcome, is_dry_run) {
        (Outcome::Created, false) => "created",
        (Outcome::Created, true) => "would be created",
        (Outcome::Changed, false) => "changed",
        (Outcome::Changed, true) => "would be changed",
        (Outcome::Set, false) => "set",
        (Outcome::Set, true) => "would be set",
        (Outcome::Unchanged, _) => "unchanged",
    }
}
