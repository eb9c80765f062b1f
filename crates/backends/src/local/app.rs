//! The unpacked app: the archive's files, the config that was pushed with it, and the folders where the format wants them.

use std::{
    fs, io,
    path::{Component, Path},
};

use api::truss_config::TrussConfig;

use super::{Local, command::Say};
use crate::{BuildError, BuildRequest};

/// The config's file in the app.
const CONFIG_FILE: &str = "config.yaml";
/// Where the format's reference server expects data.
const DATA_FOLDER: &str = "data";

/// The folder, inside an artifact, that is `/app` for the model.
pub(super) const APP: &str = "app";
/// The folder, inside an artifact, that is `/packages` for the model, where the archive bundled any.
pub(super) const PACKAGES: &str = "packages";

impl Local {
    /// Unpacks a request's archive into an empty folder and arranges it. Blocks.
    pub(super) fn unpack(limits: &archive::Limits, request: &BuildRequest, folder: &Path) -> Result<(), BuildError> {
        let app = folder.join(APP);
        let file = fs::File::open(&request.archive).map_err(BuildError::Machine)?;
        archive::unpack(file, &app, limits).map_err(from_archive)?;
        let config = &request.config;
        move_folder(&app, &config.bundled_packages_dir, &folder.join(PACKAGES))?;
        if config.data_dir.trim_matches('/') != DATA_FOLDER {
            move_folder(&app, &config.data_dir, &app.join(DATA_FOLDER))?;
        }
        for root in [&app, &folder.join(PACKAGES)] {
            check_links(root, 0)?;
        }
        // The model's `data_dir` exists whether or not it brought any data.
        fs::create_dir_all(app.join(DATA_FOLDER)).map_err(BuildError::Machine)?;
        write_config(&app, request).map_err(BuildError::Machine)
    }
}

/// Says what this backend cannot do for a config, by key.
pub(super) fn refuse_unsupported(config: &TrussConfig, say: &Say) -> Result<(), BuildError> {
    let refuse = |message: &str, hint: &str| {
        Err(BuildError::Invalid { message: message.to_owned(), hint: Some(hint.to_owned()) })
    };
    let hint = "fetch the files in load(), list them under external_data, or put them into data/";
    if !config.weights.is_empty() {
        return refuse("weights: not available on this backend", hint);
    }
    if !config.model_cache.is_empty() {
        return refuse("model_cache: not available on this backend", hint);
    }
    if let Some(server) = &config.docker_server {
        if server.start_command.as_deref().is_none_or(|command| command.trim().is_empty()) {
            return refuse(
                "docker_server.start_command: needed on this backend, which runs no images",
                "give the command that starts the server, or use a backend that runs containers",
            );
        }
        if server.no_build == Some(true) {
            say.warning("docker_server.no_build: this backend runs no images; the archive is built like any other");
        }
        if server.run_as_user_id.is_some() {
            say.warning("docker_server.run_as_user_id: ignored on this backend");
        }
    }
    if let Some(image) = config.base_image.as_ref().filter(|image| !image.image.is_empty()) {
        say.warning(format!(
            "base_image: {} is ignored on this backend, which runs models as plain processes",
            image.image
        ));
    }
    Ok(())
}

/// Moves a folder of the app to where the model finds it. A folder that is not there is not missed.
fn move_folder(app: &Path, name: &str, target: &Path) -> Result<(), BuildError> {
    let source = app.join(name.trim_matches('/'));
    if source == app || !source.is_dir() {
        return Ok(());
    }
    if !is_without_links(app, name.trim_matches('/').as_ref()) {
        return Err(BuildError::Invalid {
            message: format!("{name} leads through a symbolic link, or out of the archive"),
            hint: Some("name the folder itself".into()),
        });
    }
    if target.exists() {
        return Err(BuildError::Invalid {
            message: format!(
                "the archive has both {name} and {}",
                target.file_name().unwrap_or_default().to_string_lossy()
            ),
            hint: Some("one would replace the other: keep one".into()),
        });
    }
    fs::rename(&source, target).map_err(BuildError::Machine)
}

/// Refuses links that lead out of their root. The archive's links were judged where they lay in it, and a folder that moved up
/// has fewer folders above it. `depth` is how far below its root a folder lies.
///
/// As in the archive, `..` may only stand in front: there it starts from a real folder, so text alone decides.
fn check_links(folder: &Path, depth: usize) -> Result<(), BuildError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(BuildError::Machine)?,
    };
    for entry in entries {
        let entry = entry.map_err(BuildError::Machine)?;
        let kind = entry.file_type().map_err(BuildError::Machine)?;
        if kind.is_dir() {
            check_links(&entry.path(), depth + 1)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(BuildError::Machine)?;
            if !stays_inside(&target, depth) {
                let name = entry.file_name();
                return Err(BuildError::Invalid {
                    message: format!("the link {} -> {} leads out of its folder", name.display(), target.display()),
                    hint: Some(
                        "data_dir and bundled_packages_dir are moved: their links may only lead to what moves along"
                            .into(),
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Whether a link's target, for a link in a folder `depth` below its root, is below that root.
fn stays_inside(target: &Path, depth: usize) -> bool {
    let ups = target.components().take_while(|part| matches!(part, Component::ParentDir | Component::CurDir));
    let ups = ups.filter(|part| matches!(part, Component::ParentDir)).count();
    let all = target.components().filter(|part| matches!(part, Component::ParentDir)).count();
    !target.is_absolute() && ups == all && ups <= depth
}

/// Whether `path`, below `root`, goes down only, and nothing on its way that is there is a symbolic link.
pub(super) fn is_without_links(root: &Path, path: &Path) -> bool {
    let mut place = root.to_owned();
    let mut parts = [Component::CurDir].into_iter().chain(path.components());
    parts.all(|part| {
        place.push(part);
        let goes_down = matches!(part, Component::Normal(_) | Component::CurDir);
        // A path that ends in a dot would be looked at behind the link.
        let place: std::path::PathBuf = place.components().collect();
        goes_down && !place.is_symlink()
    })
}

/// The pushed config wins over the archive's, in its author's own words where they are known.
fn write_config(app: &Path, request: &BuildRequest) -> io::Result<()> {
    let text = match &request.raw_config {
        Some(raw) => raw.clone(),
        // JSON is YAML.
        None => serde_json::to_string_pretty(&request.config.expanded())?,
    };
    let path = app.join(CONFIG_FILE);
    // The archive may have a link or a folder there; neither is written through.
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path)?,
        Ok(_) => fs::remove_file(&path)?,
        Err(_) => {}
    }
    fs::write(path, text)
}

fn from_archive(error: archive::Error) -> BuildError {
    match error {
        archive::Error::Read(source) => BuildError::Machine(source),
        archive::Error::Write { path, source } => {
            BuildError::Machine(io::Error::new(source.kind(), format!("cannot unpack {path:?}: {source}")))
        }
        refused => BuildError::Invalid { message: refused.to_string(), hint: None },
    }
}
