//! Which of the server's locations a deployment's replicas go to, and which of them have to leave where they are. What policies allow
//! is `policy`'s answer, and whether a location is healthy is `heartbeat`'s; here both become one standing for each location.

use crate::{
    capacity::{Amount, Capacity, shortage},
    policy::{Level, Location, Request, Suits, suits},
    replica_set::Stay,
};

/// Locations whose shortages are told of one order; the others are counted.
const TOLD: usize = 4;

/// One of the server's locations, as decisions see it.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is; none when it is not configured any more, and only what it still runs is known.
    pub location: Option<&'a Location>,
    /// Why it is not healthy; none when it is.
    pub unhealthy: Option<&'a str>,
}

/// What a location is for one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its replicas may start and stay there.
    Open,
    /// Policies allow it, and it is not healthy.
    Unhealthy,
    /// Policies allow it, and the hardware is not there, or not enough of it: a GPU that its driver has lost, perhaps.
    Lacking,
    /// Policies do not allow it.
    Closed,
    /// It is not configured any more.
    Gone,
}

/// When replicas obey policies that have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// At once: what runs out of bounds is replaced.
    #[default]
    Running,
    /// New replicas at once; what runs stays until its deployment is followed by the next.
    NextDeployment,
}

/// Where a deployment's replicas may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    standings: Vec<Standing>,
    /// What to say when nothing is open.
    why_nowhere: String,
}

impl Fence {
    /// The standings of these locations, for a deployment with policies of its environments and its own. `request` is what one of its
    /// replicas needs; `why_not` says why policies allow no location at all, and is asked only then.
    pub fn new(
        sites: &[Site<'_>],
        levels: &[&Level<'_>],
        request: &Request,
        why_not: impl FnOnce() -> Option<String>,
    ) -> Self {
        let standing = |site: &Site<'_>| match site.location {
            None => Standing::Gone,
            Some(location) => match suits(levels, location, request) {
                Suits::No => Standing::Closed,
                Suits::Lacks => Standing::Lacking,
                Suits::Yes if site.unhealthy.is_some() => Standing::Unhealthy,
                Suits::Yes => Standing::Open,
            },
        };
        let standings: Vec<Standing> = sites.iter().map(standing).collect();
        let has = |standing: Standing| standings.contains(&standing);
        let why_nowhere = match (has(Standing::Open), has(Standing::Unhealthy)) {
            (true, _) => String::new(),
            (false, true) => {
                let ill = sites.iter().zip(&standings).filter(|(_, standing)| **standing == Standing::Unhealthy);
                let told = ill.map(|(site, _)| format!("{} ({})", site.name, site.unhealthy.unwrap_or_default()));
                format!("no location that is allowed is healthy: {}", some_of(told.collect()))
            }
            (false, false) => why_not().unwrap_or_else(|| "no location is allowed by all of its policies".to_owned()),
        };
        Self { standings, why_nowhere }
    }

    /// Whether replicas may start at this position of the locations.
    pub fn is_open(&self, at: usize) -> bool {
        self.standings[at] == Standing::Open
    }

    /// Where replicas go, as positions: where they may start or, when no such location is healthy, where they might when it is again.
    pub fn places(&self) -> Vec<usize> {
        let all =
            |wanted: Standing| (0..self.standings.len()).filter(move |at| self.standings[*at] == wanted).collect();
        let open: Vec<usize> = all(Standing::Open);
        if open.is_empty() { all(Standing::Unhealthy) } else { open }
    }

    /// Whether a replica that runs at this position of the locations may go on there.
    pub fn stay(&self, at: usize, enforcement: Enforcement) -> Stay {
        let is_open_elsewhere = self.standings.contains(&Standing::Open);
        match (self.standings[at], enforcement) {
            (Standing::Open, _) | (Standing::Closed, Enforcement::NextDeployment) => Stay::Stays,
            (Standing::Unhealthy | Standing::Lacking, _) if is_open_elsewhere => Stay::UntilReplaced,
            // It runs, whatever is said of its place, and nothing better is to be had.
            (Standing::Unhealthy | Standing::Lacking, _) => Stay::Stays,
            (Standing::Closed | Standing::Gone, _) if is_open_elsewhere => Stay::UntilReplaced,
            // A place that is allowed comes back, and until then a replica is worth more than none.
            (Standing::Closed | Standing::Gone, _) if self.standings.contains(&Standing::Unhealthy) => {
                Stay::UntilReplaced
            }
            (Standing::Closed | Standing::Gone, _) => Stay::Leaves,
        }
    }
}

/// How the reason of a shortage begins.
const SHORTAGE: &str = "waiting for capacity";

/// Whether a replica waits because what is allowed is full, by the reason that [`place`] has given: then ending another makes room.
pub fn is_shortage(why: &str) -> bool {
    why.starts_with(SHORTAGE)
}

/// How full a location is.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// What replicas there may use together.
    pub capacity: &'a Capacity,
    /// What they use.
    pub used: &'a Amount,
    /// How many of them are of the deployment that is to be placed.
    pub own: u32,
}

/// Where the next replica of a deployment goes, as a position in the locations: where fewest of its own are, of those the first.
/// So one replica runs where the operator likes it best, and several do not fall with one location. The error says what is missing.
pub fn place(sites: &[Site<'_>], fence: &Fence, rooms: &[Room<'_>], asked: &Amount) -> Result<usize, String> {
    let open = || (0..sites.len()).filter(|at| fence.is_open(*at));
    let lacks = |at: usize| shortage(rooms[at].capacity, rooms[at].used, asked);
    if let Some(at) = open().filter(|at| lacks(*at).is_none()).min_by_key(|at| (rooms[*at].own, *at)) {
        return Ok(at);
    }
    if open().next().is_none() {
        return Err(format!("waiting for a place: {}", fence.why_nowhere));
    }
    let told = open().filter_map(|at| Some(format!("{} in {}", lacks(at)?, sites[at].name))).collect();
    Err(format!("{SHORTAGE}: {}", some_of(told)))
}

/// The first few, and how many more there are.
pub(crate) fn some_of(told: Vec<String>) -> String {
    let more = told.len().saturating_sub(TOLD);
    let text = told.into_iter().take(TOLD).collect::<Vec<_>>().join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Kind, Policy, ResourceType, written};

    fn location(name: &str, country: &str) -> Location {
        let stock = written::Stock { kind: "cpu".into(), name: "x86".into(), count: 4, memory_mib: None };
        let (name, continent) = (name.to_owned(), if country == "us" { "na" } else { "eu" }.to_owned());
        let written =
            written::Location { name, country: country.into(), continent, flavors: vec![stock], coordinates: None };
        written.try_into().expect("a possible location")
    }

    fn only(place: &str) -> Policy {
        let (kind, name) = place.split_once(':').expect("kind:name");
        let entry = written::Entry { kind: Some(kind.into()), name: name.into() };
        let written = written::Policy {
            name: format!("{name}-only"),
            kind: "location".into(),
            locations: vec![entry],
            ..written::Policy::default()
        };
        written.try_into().expect("a possible policy")
    }

    /// Paris and Oslo in Europe, Virginia in America, and one that was taken out of the configuration.
    fn check(policies: &[&str], unhealthy: &[&str], then: impl FnOnce(&[Site<'_>], &Fence)) {
        let locations = [location("paris", "fr"), location("oslo", "no"), location("virginia", "us")];
        let gone = Site { name: "old", location: None, unhealthy: None };
        let mut sites: Vec<Site<'_>> = Vec::new();
        for location in &locations {
            let name = location.name.as_str();
            let unhealthy = unhealthy.contains(&name).then_some("no answer");
            sites.push(Site { name, location: Some(location), unhealthy });
        }
        sites.push(gone);
        let policies: Vec<Policy> = policies.iter().map(|place| only(place)).collect();
        let level = Level::new(&policies, ResourceType::Model);
        let fence = Fence::new(&sites, &[&level], &Request::default(), || Some("none is left".into()));
        then(&sites, &fence);
    }

    fn stays(policies: &[&str], unhealthy: &[&str], expected: [Stay; 4]) {
        check(policies, unhealthy, |_, fence| {
            assert_eq!([0, 1, 2, 3].map(|at| fence.stay(at, Enforcement::Running)), expected);
        });
    }

    use Stay::{Leaves, Stays, UntilReplaced};

    #[test]
    fn what_is_out_of_bounds_stays_until_it_is_replaced_and_leaves_where_nothing_is_allowed() {
        stays(&[], &[], [Stays, Stays, Stays, UntilReplaced]);
        stays(&["continent:eu"], &[], [Stays, Stays, UntilReplaced, UntilReplaced]);
        stays(&["country:jp"], &[], [Leaves; 4]);
    }

    #[test]
    fn what_is_in_an_unhealthy_location_moves_only_where_there_is_another() {
        stays(&[], &["paris"], [UntilReplaced, Stays, Stays, UntilReplaced]);
        stays(&["country:fr"], &["paris"], [Stays, UntilReplaced, UntilReplaced, UntilReplaced]);
    }

    #[test]
    fn until_the_next_deployment_policies_move_nothing_that_runs() {
        check(&["continent:eu"], &["paris"], |_, fence| {
            let stay = [0, 1, 2, 3].map(|at| fence.stay(at, Enforcement::NextDeployment));
            assert_eq!(
                stay,
                [UntilReplaced, Stays, Stays, UntilReplaced],
                "ill and removed locations are left all the same"
            );
        });
    }

    fn placed(policies: &[&str], unhealthy: &[&str], own: [u32; 4], used_millicpu: u64) -> Result<usize, String> {
        let mut answer = Err(String::new());
        check(policies, unhealthy, |sites, fence| {
            let capacity = Capacity { millicpu: Some(4_000), ..Capacity::default() };
            let used = Amount { millicpu: used_millicpu, ..Amount::default() };
            let nothing = Amount::default();
            let asked = Amount { millicpu: 1_000, ..Amount::default() };
            let rooms: Vec<Room<'_>> = (0..4)
                .map(|at| Room { capacity: &capacity, used: if at < 2 { &used } else { &nothing }, own: own[at] })
                .collect();
            answer = place(sites, fence, &rooms, &asked);
        });
        answer
    }

    #[test]
    fn replicas_are_spread_and_the_first_location_goes_first() {
        assert_eq!(placed(&[], &[], [0, 0, 0, 0], 0), Ok(0));
        assert_eq!(placed(&[], &[], [1, 0, 0, 0], 0), Ok(1));
        assert_eq!(placed(&[], &[], [2, 1, 1, 0], 0), Ok(1));
        assert_eq!(placed(&["continent:eu"], &[], [1, 1, 0, 0], 0), Ok(0), "as evenly as the rules allow");
    }

    #[test]
    fn a_location_that_is_full_or_ill_is_passed_over() {
        assert_eq!(placed(&[], &[], [0, 0, 5, 0], 3_500), Ok(2));
        assert_eq!(placed(&[], &["paris", "oslo"], [0, 0, 5, 0], 0), Ok(2));
    }

    #[test]
    fn where_there_is_no_place_the_reason_says_what_is_missing() {
        assert_eq!(placed(&["country:jp"], &[], [0; 4], 0), Err("waiting for a place: none is left".into()));
        let full = placed(&["continent:eu"], &[], [0; 4], 3_500);
        let told =
            "waiting for capacity: 1000 millicpu needed, 500 free in paris, 1000 millicpu needed, 500 free in oslo";
        assert_eq!(full, Err(told.into()));
        let ill = placed(&["country:fr"], &["paris"], [0; 4], 0);
        assert_eq!(ill, Err("waiting for a place: no location that is allowed is healthy: paris (no answer)".into()));
    }

    #[test]
    fn a_model_without_gpus_is_not_sent_where_there_are_no_processors() {
        let mut gpus_only = location("lab", "fr");
        gpus_only.flavors[0].flavor.kind = Kind::Gpu;
        let sites = [Site { name: "lab", location: Some(&gpus_only), unhealthy: None }];
        let inventory = crate::policy::Inventory::new(vec![gpus_only.clone(), location("paris", "fr")]).unwrap();
        let request = Request::of(&crate::catalogue::Catalogue::of(&[]), "1x2", &inventory);
        let fence = Fence::new(&sites, &[], &request, || None);
        assert_eq!(fence.standings, [Standing::Lacking]);
    }

    #[test]
    fn what_runs_on_a_gpu_that_is_not_seen_any_more_goes_on_and_nothing_starts() {
        let lab = location("lab", "fr");
        let sites = [Site { name: "lab", location: Some(&lab), unhealthy: None }];
        let inventory = crate::policy::Inventory::new(vec![lab.clone()]).unwrap();
        let request = Request::of(&crate::catalogue::Catalogue::of(&[]), "T4:4x16", &inventory);
        let fence = Fence::new(&sites, &[], &request, || None);
        assert_eq!((fence.is_open(0), fence.stay(0, Enforcement::Running)), (false, Stays));
        let policies = [only("country:us")];
        let level = Level::new(&policies, ResourceType::Model);
        let fence = Fence::new(&sites, &[&level], &request, || None);
        assert_eq!(fence.stay(0, Enforcement::Running), Leaves, "policies are another matter");
    }
}
