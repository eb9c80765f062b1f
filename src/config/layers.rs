//! The mechanism of configuration: documented keys, layers that override one another, and where each value came from.
//! Knows no key; [`super`] declares them and turns text into typed values.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

/// One documented setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted, as in the file: `log.level` stands in table `[log]`.
    pub name: &'static str,
    /// What it does, with its unit.
    pub doc: &'static str,
    /// What it is when nobody says anything; empty means unset.
    pub default: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

impl Key {
    /// The variable that sets it: `log.level` is `GREENROOM_LOG_LEVEL`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Whether it is a program and its arguments: in a file as a list, or as words with quotes.
    fn is_command(&self) -> bool {
        self.name.ends_with("command")
    }
}

/// What all our environment variables begin with.
pub const PREFIX: &str = "GREENROOM_";

/// Where a value came from; later ones win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Variable(name) | Source::Flag(name) => f.write_str(name),
        }
    }
}

/// Why a configuration cannot be used. Each names the place to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key nobody knows.
    #[error("unknown configuration key `{key}` in {}{}", path.display(), suggest(.nearest))]
    UnknownKey {
        /// As written.
        key: String,
        /// Where it stands.
        path: PathBuf,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A variable that begins like ours and means nothing.
    #[error("unknown environment variable `{name}`{}", suggest(.nearest))]
    UnknownVariable {
        /// As written.
        name: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that does not mean anything for its key.
    #[error("`{key}` from {source_name}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// Where the value came from.
        source_name: Source,
        /// What is wrong with it.
        problem: String,
    },
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

fn suggest(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// Every key's value in force and its source. Values are text until a typed struct reads them.
#[derive(Debug)]
pub struct Layers {
    keys: &'static [Key],
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Layers {
    /// Every key at its default.
    pub fn defaults(keys: &'static [Key]) -> Self {
        let values = keys.iter().map(|key| (key.name, (key.default.to_owned(), Source::Default))).collect();
        Self { keys, values }
    }

    /// Replaces a default that is only known at run time, such as a folder in the user's home.
    pub fn set_default(&mut self, key: &'static str, value: String) {
        self.values.insert(key, (value, Source::Default));
    }

    /// Lays a TOML document over what is there.
    pub fn add_file(&mut self, path: &std::path::Path, text: &str) -> Result<(), Error> {
        let file_error = |problem: String| Error::File { path: path.to_owned(), problem };
        let document: toml::Table = text.parse().map_err(|error: toml::de::Error| file_error(error.to_string()))?;
        let mut entries = Vec::new();
        flatten("", document, &mut entries);
        for (name, value) in entries {
            let source = Source::File(path.to_owned());
            let Some(key) = self.keys.iter().find(|key| key.name == name) else {
                let nearest = self.nearest(&name, |key| key.name.to_owned());
                return Err(Error::UnknownKey { key: name, path: path.to_owned(), nearest });
            };
            let text = if key.is_command() { words(value) } else { scalar(value) };
            let text = text.map_err(|problem| Error::Value { key: key.name, source_name: source.clone(), problem })?;
            self.values.insert(key.name, (text, source));
        }
        Ok(())
    }

    /// Lays `GREENROOM_*` variables over what is there. `others` are names that belong to another role.
    pub fn add_variables(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        others: &[&str],
    ) -> Result<(), Error> {
        for (name, value) in variables {
            if !name.starts_with(PREFIX) || others.contains(&name.as_str()) {
                continue;
            }
            match self.keys.iter().find(|key| key.variable() == name) {
                Some(key) => self.values.insert(key.name, (value, Source::Variable(name))),
                None => {
                    let nearest = self.nearest(&name, Key::variable);
                    return Err(Error::UnknownVariable { name, nearest });
                }
            };
        }
        Ok(())
    }

    /// Lays a flag over what is there, if it was given.
    pub fn add_flag(&mut self, key: &'static str, value: Option<String>) {
        if let Some(value) = value {
            let flag = format!("--{}", key.replace(['.', '_'], "-"));
            self.values.insert(key, (value, Source::Flag(flag)));
        }
    }

    /// Each key with its value and source, in the order in which they are declared.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Key, &str, &Source)> {
        self.keys.iter().map(|key| {
            let (value, source) = self.entry(key.name);
            (key, value, source)
        })
    }

    /// A value that has to be there.
    pub fn get<T>(&self, key: &'static str) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.get_with(key, |text| text.parse().map_err(|error: T::Err| format!("`{text}`: {error}")))
    }

    /// A value that has to be there, read by `parse`.
    pub fn get_with<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Error> {
        let (value, source) = self.entry(key);
        parse(value).map_err(|problem| Error::Value { key, source_name: source.clone(), problem })
    }

    /// A value that may be unset.
    pub fn optional(&self, key: &'static str) -> Option<String> {
        let (value, _) = self.entry(key);
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Whether a key's value was read from a file.
    pub fn comes_from_file(&self, key: &'static str) -> bool {
        matches!(self.entry(key), (_, Source::File(_)))
    }

    fn entry(&self, key: &'static str) -> (&str, &Source) {
        let (value, source) = self.values.get(key).expect("only declared keys are asked for");
        (value, source)
    }

    /// The known name that looks most like `wrong`, if one does.
    fn nearest(&self, wrong: &str, name_of: impl Fn(&Key) -> String) -> Option<String> {
        let likeness = |name: &str| strsim::normalized_damerau_levenshtein(name, wrong);
        self.keys
            .iter()
            .map(name_of)
            .filter(|name| likeness(name) > 0.5)
            .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
    }
}

/// Turns nested tables into dotted keys.
fn flatten(prefix: &str, table: toml::Table, into: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let dotted = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(table) => flatten(&dotted, table, into),
            value => into.push((dotted, value)),
        }
    }
}

/// The text of a scalar; a list of scalars is joined by commas, a list of tables is JSON.
fn scalar(value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        toml::Value::Array(items) if items.first().is_some_and(toml::Value::is_table) => {
            serde_json::to_string(&items).map_err(|error| error.to_string())
        }
        toml::Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.into_iter().map(scalar).collect();
            Ok(items?.join(", "))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => Err("expected a text, a number, true or false".to_owned()),
    }
}

/// The text of a command's words.
fn words(value: toml::Value) -> Result<String, String> {
    let toml::Value::Array(items) = value else { return scalar(value) };
    let words: Vec<String> = items.into_iter().map(scalar).collect::<Result<_, _>>()?;
    shlex::try_join(words.iter().map(String::as_str)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const KEYS: &[Key] = &[
        Key { name: "listen", doc: "", default: "127.0.0.1:8000", secret: false },
        Key { name: "log.level", doc: "", default: "info", secret: false },
        Key { name: "workers", doc: "", default: "2", secret: false },
    ];

    fn layers() -> Layers {
        Layers::defaults(KEYS)
    }

    #[test]
    fn each_layer_overrides_the_one_before_and_is_named() {
        let mut layers = layers();
        let named = |layers: &Layers| {
            let (value, source) = layers.entry("workers");
            format!("{value} ({source})")
        };
        assert_eq!(named(&layers), "2 (default)");
        layers.add_file(Path::new("g.toml"), "workers = 3").expect("a known key");
        assert_eq!(named(&layers), "3 (g.toml)");
        layers.add_variables([("GREENROOM_WORKERS".to_owned(), "4".to_owned())], &[]).expect("a known variable");
        assert_eq!(named(&layers), "4 (GREENROOM_WORKERS)");
        layers.add_flag("workers", Some("5".to_owned()));
        assert_eq!(named(&layers), "5 (--workers)");
    }

    #[test]
    fn tables_in_the_file_are_dots_in_the_key() {
        let mut layers = layers();
        layers.add_file(Path::new("g.toml"), "[log]\nlevel = \"debug\"").expect("a known key");
        assert_eq!(layers.get::<String>("log.level").expect("is there"), "debug");
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_named() {
        let error = layers().add_file(Path::new("g.toml"), "[log]\nlevle = \"debug\"").expect_err("unknown");
        assert_eq!(error.to_string(), "unknown configuration key `log.levle` in g.toml; did you mean `log.level`?");
        let variables = [("GREENROOM_LISTN".to_owned(), "x".to_owned())];
        let error = layers().add_variables(variables, &[]).expect_err("unknown");
        assert!(error.to_string().ends_with("did you mean `GREENROOM_LISTEN`?"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_key_and_source() {
        let mut layers = layers();
        layers.add_file(Path::new("g.toml"), "workers = \"many\"").expect("a known key");
        let error = layers.get::<u32>("workers").expect_err("not a number");
        assert_eq!(error.to_string(), "`workers` from g.toml: `many`: invalid digit found in string");
    }

    #[test]
    fn variables_of_other_programs_are_left_alone() {
        let variables = [("PATH".to_owned(), "/bin".to_owned()), ("GREENROOM_URL".to_owned(), "x".to_owned())];
        layers().add_variables(variables, &["GREENROOM_URL"]).expect("nothing of ours");
    }
}
