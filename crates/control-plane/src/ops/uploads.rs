//! The way of an archive: credentials to upload it, a look inside before anything is made of it, a link to download it.

use std::io::Read;

use api::{
    id::{ModelId, TeamId},
    truss_config::TrussConfig,
};
use archive::{ContentHashes, Listing};
use futures::TryStreamExt;
use store::domain::{Archive, Deployment};
use tokio_util::io::{StreamReader, SyncIoBridge};
use uploads::Credentials;

use super::{
    Caller, ControlPlane, Error,
    deployments::{self, Target},
    payload::Payload,
    push::{self, Destination},
    teams,
};

/// Long enough for a large archive over a slow line.
const CREDENTIALS_TTL_MS: u64 = 60 * 60 * 1000;
/// The largest file of an archive that is read into memory.
const LARGEST_READ: u64 = 1 << 20;
const DOWNLOAD_TTL_MS: u64 = 60 * 60 * 1000;

/// Checks a push and, unless that is all that was asked for, gives credentials for its archive.
pub async fn prepare(
    control_plane: &ControlPlane,
    caller: &Caller,
    destination: &Destination,
    payload: Payload,
    dry_run: bool,
) -> Result<Option<Credentials>, Error> {
    let plan = push::plan(control_plane, caller, destination, payload, "deployment").await?;
    if dry_run {
        return Ok(None);
    }
    let key = uploads::object_key(plan.team(), rand::random());
    Ok(Some(control_plane.issuer().issue(control_plane.now(), &key, CREDENTIALS_TTL_MS)))
}

/// Credentials for the archive of a push that is not described yet.
pub async fn credentials(control_plane: &ControlPlane, caller: &Caller) -> Result<Credentials, Error> {
    let team = teams::default_of(control_plane, caller).await?;
    let key = uploads::object_key(&team.id, rand::random());
    Ok(control_plane.issuer().issue(control_plane.now(), &key, CREDENTIALS_TTL_MS))
}

/// What the files of a deployment's archive contain.
pub async fn content_hashes(control_plane: &ControlPlane, deployment: &Deployment) -> Result<ContentHashes, Error> {
    let limits = control_plane.settings().archive_limits;
    let hashes =
        read(control_plane, &deployment.archive.key, move |bytes| archive::content_hashes(bytes, &limits)).await?;
    hashes.map_err(|error| Error::internal("read an archive", error))
}

/// What one file of a deployment's archive contains; none where there is no such file, or a large one.
pub(super) async fn content(
    control_plane: &ControlPlane,
    deployment: &Deployment,
    file: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let (limits, file) = (control_plane.settings().archive_limits, file.to_owned());
    let work = move |bytes: &mut dyn Read| archive::content(bytes, &file, LARGEST_READ, &limits);
    let content = read(control_plane, &deployment.archive.key, work).await?;
    content.map_err(|error| Error::internal("read an archive", error))
}

/// A link to a deployment's archive that works without a key, for a while. `base_url` is this server's address for the caller.
pub async fn download_url(
    control_plane: &ControlPlane,
    caller: &Caller,
    model: &ModelId,
    target: &Target,
    base_url: &str,
) -> Result<String, Error> {
    let (model, deployment) = deployments::find(control_plane, caller, model, target).await?;
    if model.archive_download_disabled {
        return Err(Error::Invalid(format!(
            "model {} was made with disable_archive_download: its archives stay here",
            model.id
        )));
    }
    Ok(control_plane.issuer().presign_get(base_url, &deployment.archive.key, DOWNLOAD_TTL_MS, control_plane.now()))
}

/// Takes an upload of this team, or of the one that credentials without a team are for, as a deployment's archive, once it has been looked into. One that is refused stays where it is,
/// to be replaced or used again.
pub(super) async fn accept(
    control_plane: &ControlPlane,
    caller: &Caller,
    team: &TeamId,
    key: &str,
    config: &TrussConfig,
) -> Result<Archive, Error> {
    let blobs = control_plane.blobs();
    let missing = || {
        Error::Invalid(format!(
            "source.s3_key: nothing has been uploaded under {key:?}: upload to the key that prepare_model_upload gave"
        ))
    };
    let owner = uploads::team_of(key).ok_or_else(missing)?;
    if owner != *team && owner != teams::default_of(control_plane, caller).await?.id {
        return Err(missing());
    }
    let is_waiting = match blobs.head(key).await {
        Ok(_) => true,
        Err(store::Error::NotFound { .. }) => false,
        Err(other) => return Err(other.into()),
    };
    if is_waiting {
        inspect(control_plane, key, config).await?;
    }
    let archive = uploads::claim(blobs, key).await.map_err(|error| match error {
        store::Error::NotFound { .. } => missing(),
        other => other.into(),
    })?;
    if !is_waiting {
        inspect(control_plane, &archive.key, config).await?;
    }
    Ok(archive)
}

/// Looks into an archive: nothing in it may do harm, and what the config promises must be there.
pub(super) async fn inspect(control_plane: &ControlPlane, key: &str, config: &TrussConfig) -> Result<(), Error> {
    let limits = control_plane.settings().archive_limits;
    let listing = read(control_plane, key, move |bytes| archive::inspect(bytes, &limits)).await?;
    let listing = listing.map_err(|error| match error {
        archive::Error::Read(_) | archive::Error::Write { .. } => Error::internal("look into an archive", error),
        its_own_fault => Error::Invalid(format!("source.s3_key: {its_own_fault}")),
    })?;
    check_content(&listing, config)
}

/// Reads a whole archive on a thread that may wait for it.
pub(super) async fn read<T: Send + 'static>(
    control_plane: &ControlPlane,
    key: &str,
    work: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> Result<T, Error> {
    let chunks = control_plane.blobs().get(key, None).await?.chunks;
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || {
        let bytes = StreamReader::new(chunks.map_err(std::io::Error::other));
        work(&mut SyncIoBridge::new_with_handle(bytes, runtime))
    });
    done.await.map_err(|error| Error::internal("read an archive", error))
}

fn check_content(listing: &Listing, config: &TrussConfig) -> Result<(), Error> {
    if let Some(file) = &config.requirements_file
        && !listing.has_file(file)
    {
        return Err(Error::Invalid(format!(
            "source.s3_key: the archive has no file {file:?}, which the config names as requirements_file"
        )));
    }
    if config.docker_server.is_some() {
        return Ok(());
    }
    let model = format!("{}/{}", config.model_module_dir, config.model_class_filename);
    if listing.has_file(&model) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "source.s3_key: the archive has no file {model:?}: the model's class belongs there, or say where it is with \
         model_module_dir and model_class_filename"
    )))
}
