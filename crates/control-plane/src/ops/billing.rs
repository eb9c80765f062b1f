//! What there is to pay.

use planner::Timestamp;
use store::domain::UsageDay;

use super::{Caller, ControlPlane, Error};

const DAY_MS: u64 = 24 * 3_600_000;
const LONGEST_WINDOW_MS: u64 = 31 * DAY_MS;

/// What the caller's deployments have used on the days from that of `from` on that begin before `to`, by day.
pub async fn usage(
    control_plane: &ControlPlane,
    caller: &Caller,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<UsageDay>, Error> {
    if from >= to {
        return Err(Error::Invalid("end_date: it needs to be after start_date".into()));
    }
    if to.0 - from.0 > LONGEST_WINDOW_MS {
        return Err(Error::Invalid(
            "end_date: it is more than 31 days after start_date: ask for one part after the other".into(),
        ));
    }
    let first_day = Timestamp(from.0 - from.0 % DAY_MS);
    let mut usage = control_plane.store().usage(first_day, to).await?;
    usage.retain(|day| caller.require_team(&day.team_id).is_ok());
    Ok(usage)
}
