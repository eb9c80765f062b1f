//! From what is written to what is known to be possible, and back.

use std::collections::BTreeSet;

use super::{
    Asked, Continent, Coordinates, Country, Flavor, Invalid, Kind, Location, Name, Place, Policy, ResourceType, Rule,
    Stock, inventory::check_flavors, tokens, written,
};

impl TryFrom<written::Policy> for Policy {
    type Error = Invalid;

    fn try_from(policy: written::Policy) -> Result<Self, Invalid> {
        let name = Name::parse("name", &policy.name)?;
        let rule = rule(&policy)?;
        let resource_types = policy.resource_types.map_or(Ok(BTreeSet::new()), |types| resource_types(&types))?;
        Ok(Self { name, rule, resource_types })
    }
}

/// What a policy allows: what its type says, and nothing beside it.
fn rule(policy: &written::Policy) -> Result<Rule, Invalid> {
    let only_kind = match policy.kind.as_str() {
        "location" => {
            refuse_beside(policy, "location", &["flavors", "max_tokens"])?;
            return entries("locations", &policy.locations, place).map(Rule::Locations);
        }
        "maxToken" | "max_token" => {
            refuse_beside(policy, "maxToken", &["locations", "flavors"])?;
            let Some(written) = &policy.max_tokens else {
                let remedy = "say how many, such as granularity day and total 1000000";
                return Err(Invalid::new("max_tokens", "is missing", remedy));
            };
            let most = tokens::parse(written).map_err(|invalid| invalid.within("max_tokens"))?;
            return Ok(Rule::MaxTokens(most));
        }
        "flavor" => None,
        "gpu" => Some(Kind::Gpu),
        "cpu" => Some(Kind::Cpu),
        other => {
            let cause = format!("{other:?} is no type of policy here");
            return Err(Invalid::new("type", cause, "choose location, flavor or maxToken"));
        }
    };
    refuse_beside(policy, "flavor", &["locations", "max_tokens"])?;
    entries("flavors", &policy.flavors, |path, entry| flavor(path, entry, only_kind)).map(Rule::Flavors)
}

/// A policy is about one thing: what is written of another would never count.
fn refuse_beside(policy: &written::Policy, kind: &str, others: &[&str]) -> Result<(), Invalid> {
    let written = [
        ("locations", !policy.locations.is_empty()),
        ("flavors", !policy.flavors.is_empty()),
        ("max_tokens", policy.max_tokens.is_some()),
    ];
    match written.into_iter().find(|(field, is_there)| *is_there && others.contains(field)) {
        None => Ok(()),
        Some((field, _)) => {
            let cause = format!("has no place in a policy of type {kind}");
            Err(Invalid::new(field, cause, "leave it out, or make a second policy of it"))
        }
    }
}

/// Takes every entry of a list that must not be empty: an empty one allows nothing, and might be meant to allow everything.
fn entries<T: PartialEq>(
    field: &str,
    written: &[written::Entry],
    take: impl Fn(&str, &written::Entry) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    if written.is_empty() {
        return Err(Invalid::new(field, "is empty", "name what is allowed; without any policy, everything is"));
    }
    let mut taken = Vec::new();
    for (number, entry) in written.iter().enumerate() {
        let one = take(&format!("{field}[{number}]"), entry)?;
        // Said twice is said once.
        if !taken.contains(&one) {
            taken.push(one);
        }
    }
    Ok(taken)
}

fn place(path: &str, entry: &written::Entry) -> Result<Place, Invalid> {
    let name = format!("{path}.name");
    match entry.kind.as_deref() {
        Some("location") => Name::parse(&name, &entry.name).map(Place::Location),
        Some("country") => Country::parse(&name, &entry.name).map(Place::Country),
        Some("continent") => Continent::parse(&name, &entry.name).map(Place::Continent),
        kind => {
            let cause = kind.map_or("is missing".into(), |kind| format!("{kind:?} is not a type of place"));
            Err(Invalid::new(format!("{path}.type"), cause, "choose location, country or continent"))
        }
    }
}

/// Takes a flavor; where the policy's type says what flavors it is about, each may be silent and none may differ.
fn flavor(path: &str, entry: &written::Entry, only_kind: Option<Kind>) -> Result<Flavor, Invalid> {
    let field = format!("{path}.type");
    let kind = match (&entry.kind, only_kind) {
        (Some(text), only_kind) => {
            let kind = Kind::parse(&field, text)?;
            match only_kind {
                Some(only) if only != kind => {
                    let cause = format!("is {text} in a policy of type {}", only.as_str());
                    return Err(Invalid::new(field, cause, "give the policy the type flavor"));
                }
                Some(_) | None => kind,
            }
        }
        (None, Some(kind)) => kind,
        (None, None) => return Err(Invalid::new(field, "is missing", "choose cpu or gpu")),
    };
    Ok(Flavor { kind, name: Name::parse(&format!("{path}.name"), &entry.name)? })
}

fn resource_types(written: &[String]) -> Result<BTreeSet<ResourceType>, Invalid> {
    if written.is_empty() {
        return Err(Invalid::new("resource_types", "is empty", "leave it out where the policy is for everything"));
    }
    let known = |(number, text): (usize, &String)| {
        ResourceType::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(|| {
            let cause = format!("{text:?} is not a type of resource");
            let remedy = format!("choose among {}", ResourceType::ALL.map(ResourceType::as_str).join(", "));
            Invalid::new(format!("resource_types[{number}]"), cause, remedy)
        })
    };
    written.iter().enumerate().map(known).collect()
}

impl Asked {
    /// Takes the flavors that a deployment asks for, from a field with this name; none asks for nothing in particular. All have to be
    /// of one type: what a model is built for runs on one or the other.
    pub fn parse(field: &str, written: &[written::Entry]) -> Result<Self, Invalid> {
        let mut asked: Option<(Kind, BTreeSet<Name>)> = None;
        for (number, entry) in written.iter().enumerate() {
            let path = format!("{field}[{number}]");
            let flavor = flavor(&path, entry, None)?;
            let (kind, names) = asked.get_or_insert_with(|| (flavor.kind, BTreeSet::new()));
            if *kind != flavor.kind {
                let cause = format!("is {} beside {}", flavor.kind.as_str(), kind.as_str());
                return Err(Invalid::new(format!("{path}.type"), cause, "ask for flavors of one type"));
            }
            names.insert(flavor.name);
        }
        Ok(asked.map_or(Self::Anything, |(kind, names)| Self::OneOf { kind, names }))
    }
}

impl TryFrom<written::Location> for Location {
    type Error = Invalid;

    fn try_from(location: written::Location) -> Result<Self, Invalid> {
        let coordinates = location.coordinates.map(|point| Coordinates::new(point.latitude, point.longitude));
        let mut flavors = Vec::new();
        for (number, stock) in location.flavors.iter().enumerate() {
            let path = format!("flavors[{number}]");
            let kind = Kind::parse(&format!("{path}.type"), &stock.kind)?;
            let name = Name::parse(&format!("{path}.name"), &stock.name)?;
            flavors.push(Stock { flavor: Flavor { kind, name }, count: stock.count, memory_mib: stock.memory_mib });
        }
        check_flavors(&flavors)?;
        Ok(Self {
            name: Name::parse("name", &location.name)?,
            country: Some(Country::parse("country", &location.country)?),
            continent: Some(Continent::parse("continent", &location.continent)?),
            coordinates: coordinates.transpose().map_err(|invalid| invalid.within("coordinates"))?,
            flavors,
            is_healthy: true,
        })
    }
}

impl From<Policy> for written::Policy {
    fn from(policy: Policy) -> Self {
        let resource_types = policy.resource_types.iter().map(|known| known.as_str().to_owned()).collect();
        let written = Self {
            name: policy.name.to_string(),
            resource_types: (!policy.resource_types.is_empty()).then_some(resource_types),
            ..Self::default()
        };
        match policy.rule {
            Rule::Locations(places) => {
                Self { kind: "location".into(), locations: places.iter().map(Into::into).collect(), ..written }
            }
            Rule::Flavors(flavors) => {
                Self { kind: "flavor".into(), flavors: flavors.iter().map(Into::into).collect(), ..written }
            }
            Rule::MaxTokens(most) => {
                Self { kind: "maxToken".into(), max_tokens: Some(tokens::written(&most)), ..written }
            }
        }
    }
}

impl From<&Place> for written::Entry {
    fn from(place: &Place) -> Self {
        let (kind, name) = match place {
            Place::Location(name) => ("location", name.to_string()),
            Place::Country(country) => ("country", country.to_string()),
            Place::Continent(continent) => ("continent", continent.to_string()),
        };
        Self { kind: Some(kind.into()), name }
    }
}

impl From<&Flavor> for written::Entry {
    fn from(flavor: &Flavor) -> Self {
        Self { kind: Some(flavor.kind.as_str().into()), name: flavor.name.to_string() }
    }
}

impl From<Location> for written::Location {
    fn from(location: Location) -> Self {
        let point = |at: Coordinates| written::Coordinates { latitude: at.latitude(), longitude: at.longitude() };
        let stock = |stock: Stock| written::Stock {
            kind: stock.flavor.kind.as_str().into(),
            name: stock.flavor.name.to_string(),
            count: stock.count,
            memory_mib: stock.memory_mib,
        };
        Self {
            name: location.name.to_string(),
            country: location.country.as_ref().map(ToString::to_string).unwrap_or_default(),
            continent: location.continent.as_ref().map(ToString::to_string).unwrap_or_default(),
            coordinates: location.coordinates.map(point),
            flavors: location.flavors.into_iter().map(stock).collect(),
        }
    }
}
