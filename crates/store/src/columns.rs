//! Values on their way into columns and out of them: TEXT and BIGINT, JSON as TEXT, times in milliseconds; and what the failures
//! of constraints mean.

use std::str::FromStr;

use planner::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row, any::AnyRow};

use crate::error::Error;

/// Reading columns as what they mean.
pub(crate) trait Columns {
    fn maybe_text(&self, column: &str) -> Result<Option<String>, Error>;
    fn maybe_number(&self, column: &str) -> Result<Option<u64>, Error>;
    fn signed(&self, column: &str) -> Result<i64, Error>;

    fn text(&self, column: &str) -> Result<String, Error> {
        self.maybe_text(column)?.ok_or_else(|| Error::damaged(column, "it is null"))
    }

    fn number(&self, column: &str) -> Result<u64, Error> {
        self.maybe_number(column)?.ok_or_else(|| Error::damaged(column, "it is null"))
    }

    fn small_number(&self, column: &str) -> Result<u32, Error> {
        self.number(column)?.try_into().map_err(|error| Error::damaged(column, error))
    }

    fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.number(column)? != 0)
    }

    fn time(&self, column: &str) -> Result<Timestamp, Error> {
        self.number(column).map(Timestamp)
    }

    fn maybe_time(&self, column: &str) -> Result<Option<Timestamp>, Error> {
        Ok(self.maybe_number(column)?.map(Timestamp))
    }

    fn id<T: FromStr<Err = api::id::InvalidId>>(&self, column: &str) -> Result<T, Error> {
        self.text(column)?.parse().map_err(|error| Error::damaged(column, error))
    }

    fn maybe_id<T: FromStr<Err = api::id::InvalidId>>(&self, column: &str) -> Result<Option<T>, Error> {
        self.maybe_text(column)?.map(|text| text.parse().map_err(|error| Error::damaged(column, error))).transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        serde_json::from_str(&self.text(column)?).map_err(|error| Error::damaged(column, error))
    }

    fn maybe_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error> {
        let parse = |text: String| serde_json::from_str(&text).map_err(|error| Error::damaged(column, error));
        self.maybe_text(column)?.map(parse).transpose()
    }

    /// An enum without data that is written as a bare word.
    fn word<T: DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        self.maybe_word(column)?.ok_or_else(|| Error::damaged(column, "it is null"))
    }

    fn maybe_word<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error> {
        let parse = |text: String| serde_json::from_value(text.into()).map_err(|error| Error::damaged(column, error));
        self.maybe_text(column)?.map(parse).transpose()
    }
}

impl Columns for AnyRow {
    fn maybe_text(&self, column: &str) -> Result<Option<String>, Error> {
        Ok(self.try_get(column)?)
    }

    fn maybe_number(&self, column: &str) -> Result<Option<u64>, Error> {
        let number: Option<i64> = self.try_get(column)?;
        number.map(|number| number.try_into().map_err(|error| Error::damaged(column, error))).transpose()
    }

    fn signed(&self, column: &str) -> Result<i64, Error> {
        Ok(self.try_get(column)?)
    }
}

/// A SHA-256 that is written in hexadecimal.
pub(crate) fn hash(row: &AnyRow, column: &str) -> Result<[u8; 32], Error> {
    let mut hash = [0; 32];
    hex::decode_to_slice(row.text(column)?, &mut hash).map_err(|error| Error::damaged(column, error))?;
    Ok(hash)
}

/// Text that others wrote, as every database can hold it: PostgreSQL's has no character NUL.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(crate) fn maybe_storable(text: &Option<String>) -> Option<String> {
    text.as_deref().map(storable)
}

/// A number as a BIGINT; what is beyond its range is as good as infinite.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn maybe_bigint(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| bigint(time.0))
}

pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("our types have string keys and no failing Serialize")
}

pub(crate) fn maybe_json<T: Serialize>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(json)
}

/// The bare word for an enum without data.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}

/// For an insert or update that may run into another's name.
pub(crate) fn or_name_taken<'a>(kind: &'static str, name: &'a str) -> impl FnOnce(sqlx::Error) -> Error + 'a {
    move |error| match error.as_database_error() {
        Some(cause) if cause.is_unique_violation() => Error::NameTaken { kind, name: name.into() },
        _ => error.into(),
    }
}

/// For a delete that may leave somebody pointing at nothing.
pub(crate) fn or_in_use<'a>(kind: &'static str, id: &'a str) -> impl FnOnce(sqlx::Error) -> Error + 'a {
    move |error| match error.as_database_error() {
        Some(cause) if cause.is_foreign_key_violation() => Error::InUse { kind, id: id.into() },
        _ => error.into(),
    }
}
