//! Names, and what is said of a value that cannot be taken.

use std::fmt;

/// The longest name, in characters.
const LONGEST: usize = 49;

/// Why a value cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where it stands: `locations[1].name`.
    pub field: String,
    /// What is wrong with it; reads on from the field.
    pub cause: String,
    /// What would be right.
    pub remedy: String,
}

impl Invalid {
    /// Made from its three parts.
    pub(super) fn new(field: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: field.into(), cause: cause.into(), remedy: remedy.into() }
    }

    /// The same of a value that stands within another.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.field, self.cause, self.remedy)
    }
}

impl std::error::Error for Invalid {}

/// The name of a policy, a location or a flavor: 1 to 49 lower-case letters, digits and hyphens, and no hyphen at an end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Takes a name that stands in this field.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let characters = text.chars().count();
        if !(1..=LONGEST).contains(&characters) {
            return Err(Invalid::new(field, format!("has {characters} characters"), format!("give it 1 to {LONGEST}")));
        }
        let is_taken = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.bytes().all(is_taken) || text.starts_with('-') || text.ends_with('-') {
            let remedy = "use lower-case letters, digits and hyphens, and no hyphen at an end";
            return Err(Invalid::new(field, format!("{text:?} is not a name"), remedy));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
