//! Values of a config with a grammar of their own: processor time, memory, accelerators, interpreter versions. Each keeps the text
//! its author wrote, so that a model finds it unchanged in its config.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Processor time: `"1"`, `"0.5"`, `"500m"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    text: Box<str>,
    millicpu: u64,
}

impl Cpu {
    /// Thousandths of a CPU, rounded up.
    pub fn millicpu(&self) -> u64 {
        self.millicpu
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self { text: "1".into(), millicpu: 1_000 }
    }
}

/// Main memory: `"2Gi"`, `"512Mi"`, `"1000000"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    text: Box<str>,
    bytes: u64,
}

impl Memory {
    /// Bytes, rounded up.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { text: "2Gi".into(), bytes: 2 << 30 }
    }
}

/// Accelerators of one kind: `"L4"`, `"H100:8"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accelerator {
    /// The kind.
    pub name: String,
    /// How many.
    pub count: u32,
}

/// A minor version of Python 3: `py311`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonVersion {
    /// The part after `3.`.
    pub minor: u8,
}

impl Default for PythonVersion {
    fn default() -> Self {
        Self { minor: 13 }
    }
}

/// Why a text is not one of these values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(&'static str);

const CPU: Expected = Expected("a string such as \"500m\" or \"4\"");
const MEMORY: Expected = Expected("a string such as \"512Mi\" or \"2Gi\"");
const ACCELERATOR: Expected = Expected("a string such as \"L4\" or \"H100:8\"");
const PYTHON: Expected = Expected("a string such as \"py311\"");

impl FromStr for Cpu {
    type Err = Expected;
    fn from_str(text: &str) -> Result<Self, Expected> {
        let (number, per_unit) = match text.strip_suffix('m') {
            Some(number) => (number, 1),
            None => (text, 1_000),
        };
        let millicpu = scaled(number, per_unit).filter(|millicpu| *millicpu > 0).ok_or(CPU)?;
        Ok(Self { text: text.into(), millicpu })
    }
}

impl FromStr for Memory {
    type Err = Expected;
    fn from_str(text: &str) -> Result<Self, Expected> {
        let letters = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(letters);
        let per_unit: u64 = match unit {
            "" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return Err(MEMORY),
        };
        let bytes = scaled(number, per_unit).filter(|bytes| *bytes > 0).ok_or(MEMORY)?;
        Ok(Self { text: text.into(), bytes })
    }
}

impl FromStr for Accelerator {
    type Err = Expected;
    fn from_str(text: &str) -> Result<Self, Expected> {
        let (name, count) = text.split_once(':').unwrap_or((text, "1"));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        match count.parse::<u32>() {
            Ok(count) if is_name && count > 0 => Ok(Self { name: name.into(), count }),
            _ => Err(ACCELERATOR),
        }
    }
}

impl FromStr for PythonVersion {
    type Err = Expected;
    fn from_str(text: &str) -> Result<Self, Expected> {
        let minor = text.strip_prefix("py3").or_else(|| text.strip_prefix("3.")).ok_or(PYTHON)?;
        let is_number = minor.bytes().all(|b| b.is_ascii_digit());
        minor.parse().ok().filter(|_| is_number).map(|minor| Self { minor }).ok_or(PYTHON)
    }
}

/// A decimal number times a factor, rounded up; none when it is no number or too large.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !is_number || number.ends_with('.') || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let digits = format!("{whole}{fraction}").parse::<u64>().ok()?;
    u64::try_from((u128::from(digits) * u128::from(factor)).div_ceil(scale)).ok()
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(&self.name),
            count => write!(f, "{}:{count}", self.name),
        }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "py3{}", self.minor)
    }
}

/// Reads text, or a bare number where `numbers` are as good as their text.
struct Spelled {
    expected: Expected,
    numbers: bool,
}

impl de::Visitor<'_> for Spelled {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        match self.numbers {
            true => Ok(number.to_string()),
            false => Err(E::invalid_type(de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        match self.numbers {
            true => Ok(number.to_string()),
            false => Err(E::invalid_type(de::Unexpected::Float(number), &self)),
        }
    }
}

macro_rules! spelled {
    ($name:ident, $expected:expr, numbers: $numbers:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_any(Spelled { expected: $expected, numbers: $numbers })?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

spelled!(Cpu, CPU, numbers: true);
spelled!(Memory, MEMORY, numbers: true);
spelled!(Accelerator, ACCELERATOR, numbers: false);
// `3.10` without quotes reads as the number 3.1: only text is safe.
spelled!(PythonVersion, PYTHON, numbers: false);

/// Accelerators, where an empty text means none, as some clients write it.
pub(super) fn optional_accelerator<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Accelerator>, D::Error> {
    let text = match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => return Ok(None),
        Some(serde_json::Value::String(text)) if text.is_empty() => return Ok(None),
        Some(serde_json::Value::String(text)) => text,
        Some(_) => return Err(de::Error::custom(ACCELERATOR)),
    };
    text.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millicpu(text: &str) -> Option<u64> {
        text.parse::<Cpu>().ok().map(|cpu| cpu.millicpu())
    }

    fn bytes(text: &str) -> Option<u64> {
        text.parse::<Memory>().ok().map(|memory| memory.bytes())
    }

    #[test]
    fn processor_time_counts_in_thousandths() {
        assert_eq!(millicpu("1"), Some(1_000));
        assert_eq!(millicpu("500m"), Some(500));
        assert_eq!(millicpu("0.25"), Some(250));
        assert_eq!(millicpu("1.0001"), Some(1_001));
        for wrong in ["", "m", "lots", "-1", "1 ", "1.", "0", "1e3", "1Gi", "99999999999999999999"] {
            assert_eq!(millicpu(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn memory_counts_in_bytes() {
        assert_eq!(bytes("2Gi"), Some(2 << 30));
        assert_eq!(bytes("1.5Gi"), Some(3 << 29));
        assert_eq!(bytes("512Mi"), Some(512 << 20));
        assert_eq!(bytes("1G"), Some(1_000_000_000));
        assert_eq!(bytes("1024"), Some(1_024));
        for wrong in ["", "Gi", "2GB", "2gi", "-2Gi", "2 Gi", "99999999999Ti"] {
            assert_eq!(bytes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_accelerator_has_a_kind_and_a_count() {
        assert_eq!("H100:8".parse(), Ok(Accelerator { name: "H100".into(), count: 8 }));
        assert_eq!("T4".parse(), Ok(Accelerator { name: "T4".into(), count: 1 }));
        for wrong in ["", ":2", "T4:0", "T4:two", "T4:2:2", "a b"] {
            assert!(wrong.parse::<Accelerator>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_python_version_has_two_spellings() {
        assert_eq!("py311".parse(), Ok(PythonVersion { minor: 11 }));
        assert_eq!("3.9".parse(), Ok(PythonVersion { minor: 9 }));
        for wrong in ["", "311", "py3", "py2.7", "3.11.4", "python3.11", "3.+9"] {
            assert!(wrong.parse::<PythonVersion>().is_err(), "{wrong:?}");
        }
    }
}
