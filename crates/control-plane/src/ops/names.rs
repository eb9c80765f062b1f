//! What things may be called. One function for each kind of name; each says what is wrong and what would be right.

use store::domain::PRODUCTION;

use super::Error;

/// The longest name of anything.
const LONGEST: usize = 255;
/// The longest name of an environment, which may become part of a host name.
const LONGEST_ENVIRONMENT: usize = 40;

/// A model's name: anything that reads as one line.
pub fn model(name: &str) -> Result<(), Error> {
    one_line("model name", name)
}

/// A team's name: anything that reads as one line.
pub fn team(name: &str) -> Result<(), Error> {
    one_line("team name", name)
}

/// A person's name: anything that reads as one line.
pub fn person(name: &str) -> Result<(), Error> {
    one_line("name", name)
}

/// An address: something on both sides of one `@`, and nothing that does not belong into one.
pub fn email(address: &str) -> Result<(), Error> {
    length("email", address, LONGEST)?;
    let is_address = address
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    let is_clean = !address.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    rule(is_address && is_clean, || format!("email {address:?} is no address: give one such as ann@example.com"))
}

/// A service account's name.
pub fn service_account(name: &str) -> Result<(), Error> {
    slug("service account name", name)
}

/// A deployment's name.
pub fn deployment(name: &str) -> Result<(), Error> {
    length("deployment name", name, LONGEST)?;
    rule(name.bytes().all(is_word), || {
        format!("deployment name {name:?} may only have letters, digits, hyphens, underscores and periods")
    })
}

/// The name of an environment to be made: another one than production, which every model has.
pub fn environment(name: &str) -> Result<(), Error> {
    any_environment(name)?;
    rule(name != PRODUCTION, || {
        format!("environment name {name:?} is reserved: every model has it from the start; choose another name")
    })
}

/// The name of an environment, be it there or to be made.
pub fn any_environment(name: &str) -> Result<(), Error> {
    length("environment name", name, LONGEST_ENVIRONMENT)?;
    let is_label = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    rule(is_label && !name.starts_with('-') && !name.ends_with('-'), || {
        format!(
            "environment name {name:?} may only have lower-case letters, digits and hyphens, and no hyphen at an end"
        )
    })
}

/// A secret's name, which becomes a file name for the model.
pub fn secret(name: &str) -> Result<(), Error> {
    length("secret name", name, LONGEST)?;
    rule(name.bytes().all(is_word) && name.bytes().any(|byte| byte.is_ascii_alphanumeric()), || {
        format!(
            "secret name {name:?} may only have letters, digits, hyphens, underscores and periods, and needs a letter or digit"
        )
    })
}

/// An API key's name.
pub fn api_key(name: &str) -> Result<(), Error> {
    slug("API key name", name)
}

fn slug(what: &str, name: &str) -> Result<(), Error> {
    length(what, name, LONGEST)?;
    rule(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), || {
        format!("{what} {name:?} may only have lower-case letters, digits and hyphens")
    })
}

fn one_line(what: &str, name: &str) -> Result<(), Error> {
    length(what, name, LONGEST)?;
    let is_one_line = !name.chars().any(char::is_control) && name.trim() == name;
    rule(is_one_line, || format!("{what} {name:?} has blanks at an end or control characters: take them out"))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn length(what: &str, name: &str, longest: usize) -> Result<(), Error> {
    let characters = name.chars().count();
    rule((1..=longest).contains(&characters), || format!("{what} has {characters} characters: it needs 1 to {longest}"))
}

fn rule(holds: bool, message: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Invalid(message())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Result<(), Error>, good: &[&str], bad: &[&str]) {
        for name in good {
            assert!(rule(name).is_ok(), "{name:?} should be taken");
        }
        for name in bad {
            assert!(rule(name).is_err(), "{name:?} should be refused");
        }
    }

    #[test]
    fn names_are_held_to_their_rules() {
        let long = "a".repeat(256);
        check(model, &["iris", "My model (2)", "模型"], &["", " iris", "a\nb", &long]);
        check(deployment, &["deployment-1", "v1.2_rc"], &["", "a b", "ü", &long]);
        check(
            environment,
            &["staging", "eu-west-1", "1", "development"],
            &["", "-a", "a-", "A", "a_b", "production", &long[..41]],
        );
        check(any_environment, &["production", "development"], &["", "A"]);
        check(secret, &["hf_access_token", "hf-token", "A.b"], &["", "..", "a/b", "a b", "_"]);
        check(api_key, &["ci-1"], &["", "CI", "a_b"]);
        check(email, &["ann@example.com", "a@b"], &["", "ann", "@b", "a@", "a@b@c", "a b@c", "a\n@b"]);
    }
}
