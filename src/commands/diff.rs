//! `greenroom diff -f FILE`: what `apply` would change. The exit code says whether that is anything.

use serde_json::Value;

use super::{
    Context,
    apply::{Change, Files, Outcome, Step, plan},
};
use crate::failure::{Failure, Kind, Result};

/// Show what differs from what YAML documents say; change nothing
///
/// Exits with 0 where nothing differs and with 1 where something does. The values of secrets cannot be compared and do not count.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
}

pub async fn run(args: Args, context: &Context) -> Result {
    let steps = plan(&context.client()?, &args.files).await?;
    context.printer.answer(&steps, |steps| shown(steps))?;
    let differs = |step: &&Step| matches!(step.outcome, Outcome::Created | Outcome::Changed);
    match steps.iter().filter(differs).count() {
        0 => Ok(()),
        many => Err(Failure::new(Kind::Differs, format!("{many} of {} objects differ", steps.len()))),
    }
}

/// `+` for what is to be made, `~` for what is to change, with its fields.
fn shown(steps: &[Step]) -> String {
    let mut lines = Vec::new();
    for step in steps {
        match step.outcome {
            Outcome::Created => lines.push(format!("+ {}", step.id)),
            Outcome::Changed => lines.push(format!("~ {}", step.id)),
            Outcome::Set | Outcome::Unchanged => continue,
        }
        lines.extend(step.changes.iter().map(line));
    }
    lines.join("\n")
}

fn line(Change { field, old, new }: &Change) -> String {
    match old {
        Value::Null => format!("    {field}: {new}"),
        old => format!("    {field}: {old} → {new}"),
    }
}
