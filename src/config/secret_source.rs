//! Where the server's secret comes from, and those that it had before: at most one place each.

use std::path::PathBuf;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};

use super::{Error, Layers};

/// The keys of the present secret, and of those before: as a value, in a file, by a command.
const PRESENT: [&str; 3] = ["server_secret", "server_secret.file", "server_secret.command"];
const PREVIOUS: [&str; 3] = ["server_secret.previous", "server_secret.previous_file", "server_secret.previous_command"];
/// What a value needs to be.
const EXPECTED: &str = "64 hexadecimal digits, or base64 of 32 bytes; `openssl rand -hex 32` makes one";

/// 32 bytes, from which keys for single purposes are derived.
pub type SecretBytes = [u8; 32];

/// Where the server's secrets come from. Has no `Debug`: it may hold them.
pub struct SecretSources {
    /// The present one. None means the file in the data folder.
    pub present: Option<SecretSource>,
    /// Those before. None means the file that a rotation leaves in the data folder, where the present one comes from there.
    pub previous: Option<SecretSource>,
}

/// One place that secrets come from.
pub struct SecretSource {
    /// The key that says so.
    pub key: &'static str,
    /// What it says.
    pub place: SecretPlace,
}

/// What that place is.
pub enum SecretPlace {
    /// Here, from the environment or the configuration file.
    Here(Vec<SecretBytes>),
    /// A file.
    File(PathBuf),
    /// What a program prints: its name and its arguments.
    Command(Vec<String>),
}

impl SecretSources {
    pub(super) fn from_layers(layers: &Layers) -> Result<Self, Error> {
        let present = source(layers, PRESENT)?;
        if let Some(SecretSource { key, place: SecretPlace::Here(secrets) }) = &present
            && secrets.len() != 1
        {
            layers.get_with(key, |_| Err::<(), _>(format!("it needs to be one secret: {EXPECTED}")))?;
        }
        Ok(Self { present, previous: source(layers, PREVIOUS)? })
    }

    /// The files among them, which models must not see.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.present.iter().chain(&self.previous).filter_map(|source| match &source.place {
            SecretPlace::File(path) => Some(path),
            SecretPlace::Here(_) | SecretPlace::Command(_) => None,
        })
    }
}

fn source(layers: &Layers, keys: [&'static str; 3]) -> Result<Option<SecretSource>, Error> {
    let mut given = keys.into_iter().filter(|key| layers.optional(key).is_some());
    let Some(key) = given.next() else { return Ok(None) };
    if let Some(other) = given.next() {
        let problem = format!("`{key}` is set too, and a secret comes from one place: unset one of the two");
        return layers.get_with(other, |_| Err(problem));
    }
    let place = match keys.iter().position(|it| *it == key) {
        Some(0) => SecretPlace::Here(layers.get_with(key, |text| {
            // Without the text: it is a secret, if a wrong one.
            secrets_in(text.as_bytes()).ok_or_else(|| format!("it needs to be {EXPECTED}"))
        })?),
        Some(1) => {
            SecretPlace::File(layers.get_with(key, |path| std::path::absolute(path).map_err(|e| e.to_string()))?)
        }
        _ => SecretPlace::Command(layers.get_with(key, |text| match shlex::split(text) {
            Some(words) if !words.is_empty() => Ok(words),
            _ => Err("it needs to be a program and its arguments, with quotes that are closed".to_owned()),
        })?),
    };
    Ok(Some(SecretSource { key, place }))
}

/// The secrets in what a file holds or a program prints: 32 bytes as they are, or text with one or more of them, between spaces,
/// commas or line ends. None where there is none, or anything else.
pub fn secrets_in(content: &[u8]) -> Option<Vec<SecretBytes>> {
    if let Ok(bytes) = content.try_into() {
        return Some(vec![bytes]);
    }
    let text = std::str::from_utf8(content).ok()?;
    let words = text.split(|character: char| character.is_whitespace() || character == ',');
    let secrets: Option<Vec<_>> = words.filter(|word| !word.is_empty()).map(secret).collect();
    secrets.filter(|secrets| !secrets.is_empty())
}

fn secret(word: &str) -> Option<SecretBytes> {
    if word.len() == 64 {
        return hex::decode(word).ok()?.try_into().ok();
    }
    [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD]
        .iter()
        .find_map(|base64| base64.decode(word).ok())?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::server::KEYS;

    fn sources(file: &str) -> Result<SecretSources, Error> {
        let mut layers = Layers::defaults(KEYS);
        layers.add_file(Path::new("server.toml"), file)?;
        SecretSources::from_layers(&layers)
    }

    fn problem(file: &str) -> String {
        sources(file).err().expect("refused").to_string()
    }

    #[test]
    fn a_secret_is_32_bytes_or_their_text() {
        let bytes: SecretBytes = std::array::from_fn(|index| 255 - index as u8);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in
            [hex.clone(), hex.to_uppercase(), BASE64_STANDARD.encode(bytes), BASE64_URL_SAFE_NO_PAD.encode(bytes)]
        {
            assert_eq!(secrets_in(format!("{text}\n").as_bytes()), Some(vec![bytes]), "{text}");
        }
        assert_eq!(secrets_in(&bytes), Some(vec![bytes]));
        assert_eq!(secrets_in(format!("{hex}, {hex}").as_bytes()), Some(vec![bytes, bytes]));
        for wrong in ["", "\n", "hunter2", &hex[2..], &format!("{hex} hunter2"), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(secrets_in(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_comes_from_one_place() {
        let problem = problem("[server_secret]\nfile = \"/run/secret\"\ncommand = \"kms decrypt\"");
        assert_eq!(
            problem,
            "`server_secret.command` from server.toml: `server_secret.file` is set too, and a secret comes from one place: \
             unset one of the two"
        );
        let sources =
            sources("[server_secret]\nfile = \"/run/secret\"\nprevious_command = \"kms old\"").expect("valid");
        assert!(sources.present.is_some() && sources.previous.is_some());
    }

    #[test]
    fn a_wrong_secret_is_refused_and_not_shown() {
        let problem = problem("server_secret = \"hunter2\"");
        assert!(
            problem.contains("`server_secret` from server.toml: it needs to be 64 hexadecimal digits"),
            "{problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
    }

    #[test]
    fn a_command_is_words_or_a_list() {
        for file in ["command = \"kms 'my key' --raw\"", "command = [\"kms\", \"my key\", \"--raw\"]"] {
            let sources = sources(&format!("[server_secret]\n{file}")).expect("valid");
            let Some(SecretSource { place: SecretPlace::Command(words), .. }) = sources.present else {
                panic!("no command");
            };
            assert_eq!(words, ["kms", "my key", "--raw"], "{file}");
        }
        assert!(problem("[server_secret]\ncommand = \"kms 'open\"").contains("quotes that are closed"));
    }
}
