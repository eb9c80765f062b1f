//! The order to begin: the secrets, on standard input until its end, and what `spec.json` then says.

use std::os::fd::OwnedFd;

use api::internal::replica::{Secrets, Spec, file};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use crate::{Error, launch};

/// What to run, as far as it is known before the order. Files are found from the working directory, which is the replica's.
pub fn specification() -> Result<Spec, Error> {
    let spec = std::fs::read(file::SPEC).map_err(|source| Error::file(file::SPEC.into(), source))?;
    let mut spec: Spec =
        serde_json::from_slice(&spec).map_err(|source| Error::Input { what: "the specification", source })?;
    launch::pass_on(&mut spec, std::env::vars_os());
    Ok(spec)
}

/// An order.
pub struct Order {
    /// What to run, the copy and its environment among it.
    pub spec: Spec,
    /// What its model may know.
    pub secrets: Secrets,
}

/// Waits for the order. None when there will be none.
pub async fn wait(input: OwnedFd) -> Result<Option<Order>, Error> {
    let failed = |source| Error::Machine { what: "the secrets", source };
    let mut input = pipe::Receiver::from_owned_fd(input).map_err(failed)?;
    let mut passed = Vec::new();
    input.read_to_end(&mut passed).await.map_err(failed)?;
    if passed.is_empty() {
        return Ok(None);
    }
    let secrets = serde_json::from_slice(&passed).map_err(|source| Error::Input { what: "the secrets", source })?;
    Ok(Some(Order { spec: specification()?, secrets }))
}
