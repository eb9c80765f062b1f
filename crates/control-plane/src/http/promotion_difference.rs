//! What a promotion changes, as the contract writes it.

use api::v1::promotions::{PromotionChange, PromotionChangeKind, PromotionChangePart, PromotionDifference};
use store::domain::{Change, ChangeKind, Difference, Part};

/// As the contract writes it.
pub fn wire(difference: Difference) -> PromotionDifference {
    PromotionDifference {
        deployment_id: difference.source.to_string(),
        compared_with_deployment_id: difference.compared_with.map(|id| id.to_string()),
        changes: difference.changes.into_iter().map(change).collect(),
        left_out: difference.left_out,
    }
}

fn change(change: Change) -> PromotionChange {
    PromotionChange {
        part: match change.part {
            Part::Artifact => PromotionChangePart::Artifact,
            Part::Config => PromotionChangePart::Config,
            Part::EnvironmentVariables => PromotionChangePart::EnvironmentVariables,
            Part::Scaling => PromotionChangePart::Scaling,
            Part::InstanceType => PromotionChangePart::InstanceType,
            Part::Placement => PromotionChangePart::Placement,
        },
        field: change.field,
        kind: match change.kind {
            ChangeKind::Added => PromotionChangeKind::Added,
            ChangeKind::Removed => PromotionChangeKind::Removed,
            ChangeKind::Changed => PromotionChangeKind::Changed,
        },
        old: change.old,
        new: change.new,
    }
}
