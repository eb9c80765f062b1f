//! What there is to run on: locations, and the hardware in each.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{Continent, Country, Invalid, Name, written};

/// A physical place with machines. Written and stored as [`written::Location`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "written::Location", into = "written::Location")]
pub struct Location {
    /// Unique in an inventory.
    pub name: Name,
    /// The country it is in; none where nobody has said: then no policy by country allows it.
    pub country: Option<Country>,
    /// The continent it is on, likewise. Said, and not derived: some countries are on two.
    pub continent: Option<Continent>,
    /// Where it is on the globe, to find the nearest.
    pub coordinates: Option<Coordinates>,
    /// The hardware in it, each flavor once; at least one.
    pub flavors: Vec<Stock>,
    /// Whether it can take replicas now. Observed, so not a part of what is written; true until something says otherwise.
    pub is_healthy: bool,
}

/// A point on the globe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
}

/// A flavor that a location has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stock {
    /// Which.
    pub flavor: Flavor,
    /// How many there are: processors, or GPUs; 0 while there is none.
    pub count: u32,
    /// Memory, in MiB: a GPU's own, or all that those processors share. None where nobody has said; then it is enough for anything.
    pub memory_mib: Option<u64>,
}

/// A kind of hardware.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flavor {
    /// What it is.
    pub kind: Kind,
    /// Which one: `x86`, `t4`.
    pub name: Name,
}

/// What a flavor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A machine without a GPU that counts.
    Cpu,
    /// A GPU.
    Gpu,
}

/// All locations. No two have one name, and none has a flavor twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    locations: Vec<Location>,
}

impl Inventory {
    /// Takes these locations, in this order of preference.
    pub fn new(locations: Vec<Location>) -> Result<Self, Invalid> {
        let mut names = BTreeSet::new();
        for (number, location) in locations.iter().enumerate() {
            let path = format!("locations[{number}]");
            if !names.insert(&location.name) {
                let cause = format!("\"{}\" is taken by another location", location.name);
                return Err(Invalid::new("name", cause, "give each a name of its own").within(&path));
            }
            check_flavors(&location.flavors).map_err(|invalid| invalid.within(&path))?;
        }
        Ok(Self { locations })
    }

    /// All locations, in the order they were given.
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }
}

/// Whether these flavors can be a location's: there are some, and each is there once.
pub(super) fn check_flavors(flavors: &[Stock]) -> Result<(), Invalid> {
    if flavors.is_empty() {
        let remedy = "name the hardware that is there, such as type cpu and name x86, or leave the location out";
        return Err(Invalid::new("flavors", "is empty", remedy));
    }
    let mut seen = BTreeSet::new();
    match flavors.iter().position(|stock| !seen.insert(&stock.flavor)) {
        None => Ok(()),
        Some(number) => {
            let cause = format!("is {} for a second time", flavors[number].flavor);
            Err(Invalid::new(format!("flavors[{number}]"), cause, "give each flavor once, with its whole count"))
        }
    }
}

impl Coordinates {
    /// Takes a point by its latitude and longitude, in degrees; north and east are positive.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, Invalid> {
        let within = |field: &str, degrees: f64, most: f64| {
            if (-most..=most).contains(&degrees) {
                return Ok(());
            }
            Err(Invalid::new(field, format!("is {degrees}"), format!("give degrees from -{most} to {most}")))
        };
        within("latitude", latitude, 90.0)?;
        within("longitude", longitude, 180.0)?;
        Ok(Self { latitude, longitude })
    }

    /// Degrees north of the equator.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east of Greenwich.
    pub fn longitude(self) -> f64 {
        self.longitude
    }
}

impl Kind {
    /// Takes a flavor's type that stands in this field.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err(Invalid::new(field, format!("{text:?} is not a type of flavor"), "choose cpu or gpu")),
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}
