//! What a promotion changes, as people read it.

use api::v1::promotions::{PromotionChange, PromotionChangeKind, PromotionChangePart, PromotionDifference};

/// Line by line: `+` what is new, `-` what goes, `~` what becomes something else.
pub fn told(difference: &PromotionDifference) -> String {
    if difference.compared_with_deployment_id.is_none() {
        return "Changes     the environment serves nothing yet".to_owned();
    }
    if difference.changes.is_empty() {
        return "Changes     none".to_owned();
    }
    let mut lines = vec!["Changes".to_owned()];
    lines.extend(difference.changes.iter().map(line));
    if difference.left_out > 0 {
        lines.push(format!("  … and {} more", difference.left_out));
    }
    lines.join("\n")
}

/// How many changes there are, for a column.
pub fn count(difference: &PromotionDifference) -> String {
    (difference.changes.len() + difference.left_out as usize).to_string()
}

fn line(change: &PromotionChange) -> String {
    let field = match change.part {
        PromotionChangePart::Config => format!("config {}", change.field),
        PromotionChangePart::Artifact | PromotionChangePart::InstanceType => change.field.clone(),
        PromotionChangePart::EnvironmentVariables => format!("config {}", change.field),
        PromotionChangePart::Scaling => format!("scaling {}", change.field),
        PromotionChangePart::Placement => "may run in".to_owned(),
    };
    let mark = match change.kind {
        PromotionChangeKind::Added => '+',
        PromotionChangeKind::Removed => '-',
        PromotionChangeKind::Changed => '~',
    };
    let values = match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!(": {old} → {new}"),
        (None, Some(one)) | (Some(one), None) => format!(": {one}"),
        (None, None) => String::new(),
    };
    format!("  {mark} {field}{values}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        part: PromotionChangePart,
        kind: PromotionChangeKind,
        old: Option<&str>,
        new: Option<&str>,
    ) -> PromotionChange {
        let [old, new] = [old, new].map(|value| value.map(str::to_owned));
        PromotionChange { part, field: "x.y".to_owned(), kind, old, new }
    }

    #[test]
    fn changes_read_line_by_line_and_what_is_unspoken_stays_so() {
        let mut difference = PromotionDifference {
            deployment_id: "b".to_owned(),
            compared_with_deployment_id: Some("a".to_owned()),
            changes: vec![
                change(PromotionChangePart::Config, PromotionChangeKind::Changed, Some("1"), Some("2")),
                change(PromotionChangePart::Config, PromotionChangeKind::Removed, Some("true"), None),
                change(PromotionChangePart::EnvironmentVariables, PromotionChangeKind::Added, None, None),
            ],
            left_out: 2,
        };
        let expected = "Changes\n  ~ config x.y: 1 → 2\n  - config x.y: true\n  + config x.y\n  … and 2 more";
        assert_eq!((told(&difference).as_str(), count(&difference).as_str()), (expected, "5"));
        (difference.changes, difference.left_out) = (Vec::new(), 0);
        assert_eq!(told(&difference), "Changes     none");
        difference.compared_with_deployment_id = None;
        assert_eq!(told(&difference), "Changes     the environment serves nothing yet");
    }
}
